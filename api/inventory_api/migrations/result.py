"""What a run of the migration command reports, to the operator and to people."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema

Outcome = Literal["applied", "nothing", "failed", "refused", "waiting", "status", "plan"]
EXIT_CODES: dict[Outcome, int] = {
    "applied": 0,
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
    outcome: Outcome
    image: ImageSchema = _NO_IMAGE
    schema: DatabaseSchema = _EMPTY
    applied: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    def line(self) -> str:
        """One line of JSON."""
        return self._line(self.error)

    def short_line(self, limit: int = TERMINATION_MESSAGE_BYTES) -> str:
        """The same within `limit` bytes: the error is shortened as far as it must be."""
        kept = len(self.error)
        line = self.line()
        while len(line.encode()) > limit and kept > 0:
            kept = kept * 3 // 4
            line = self._line(self.error[:kept].rstrip() + "…")
        return line

    def _line(self, error: str) -> str:
        document: dict[str, Any] = {
            "result": self.outcome,
            "expand": {"image": " ".join(self.image.expand), "schema": " ".join(self.schema.expand)},
            "contract": {
                "image": " ".join(self.image.contract),
                "schema": " ".join(self.schema.contract),
                "required": " ".join(self.image.required_contract),
            },
            "applied": " ".join(self.applied),
            "error": error,
            "seconds": round(self.seconds, 3),
        }
        return json.dumps(document, ensure_ascii=False)
