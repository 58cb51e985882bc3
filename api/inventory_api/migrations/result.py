"""What a run of the migration command reports, to the operator and to people."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema, abbreviated

Outcome = Literal["applied", "downgraded", "nothing", "failed", "refused", "waiting", "status", "plan"]
EXIT_CODES: dict[Outcome, int] = {
    "applied": 0,
    "downgraded": 0,
    "nothing": 0,
    "status": 0,
    "plan": 0,
    "failed": 1,
    "refused": 3,
    "waiting": 75,
}
TERMINATION_MESSAGE_BYTES = 4096
_NO_IMAGE = ImageSchema((), ())
_EMPTY = DatabaseSchema((), ())


@dataclass(frozen=True)
class Result:
    """`applied` and `reverted` are what this run has applied and taken back, oldest revision first."""

    outcome: Outcome
    image: ImageSchema = _NO_IMAGE
    schema: DatabaseSchema = _EMPTY
    applied: tuple[str, ...] = ()
    reverted: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    def line(self) -> str:
        """One line of JSON."""
        return self._line(self.error, " ".join)

    def short_line(self, limit: int = TERMINATION_MESSAGE_BYTES) -> str:
        """The same within `limit` bytes: the error is shortened as far as it must be.

        Revisions that would take up more than half of it are abbreviated; `rule.spelled_out` reads both.
        """
        written = " ".join if len(self._line("", " ".join).encode()) <= limit // 2 else abbreviated
        kept = len(self.error)
        line = self._line(self.error, written)
        while len(line.encode()) > limit and kept > 0:
            kept = kept * 3 // 4
            line = self._line(self.error[:kept].rstrip() + "…", written)
        return line

    def _line(self, error: str, written: Callable[[Iterable[str]], str]) -> str:
        document: dict[str, Any] = {
            "result": self.outcome,
            "expand": {"image": written(self.image.expand), "schema": written(self.schema.expand)},
            "contract": {
                "image": written(self.image.contract),
                "schema": written(self.schema.contract),
                "required": written(self.image.required_contract),
            },
            "applied": written(self.applied),
            "reverted": written(self.reverted),
            "error": error,
            "seconds": round(self.seconds, 3),
        }
        return json.dumps(document, ensure_ascii=False)
