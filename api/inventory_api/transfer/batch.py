"""A number of lines that are understood and written together."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inventory_api.problems import RETRY_AFTER, FieldProblem, Problem, conflict
from inventory_api.transfer.columns import Column
from inventory_api.transfer.formats import LineError

SIZE = 500
REASON = "import"
"""What the ledger says of why."""
_LISTED = 1000


@dataclass(frozen=True)
class Line:
    number: int
    values: Mapping[str, Any]

    def text(self, column: str, most: int) -> str | None:
        """What the line says in a column, to look it up by; None where it can't be there for sure."""
        value = self.values.get(column)
        if not isinstance(value, str) or "\0" in value:
            return None
        stripped = value.strip()
        return stripped if 0 < len(stripped) <= most else None


@dataclass(frozen=True)
class RowBase:
    """What a line comes to."""

    created: bool
    changed: bool


class LineErrors:
    """All that is wrong is counted, and the first of it listed."""

    def __init__(self) -> None:
        self.count = 0
        self._listed: list[LineError] = []

    def add(self, *errors: LineError) -> None:
        self.count += len(errors)
        self._listed += errors[: _LISTED - len(self._listed)]

    def listed(self) -> list[FieldProblem]:
        by_line = sorted(self._listed, key=lambda error: error.line)
        return [FieldProblem(line=error.line, field=error.field, message=error.message) for error in by_line]


class Seen:
    """What a file has named already, with the line."""

    def __init__(self) -> None:
        self._lines: dict[Any, int] = {}

    def again(self, key: Any, line: int) -> int | None:
        """The line that named it first, if that was another one."""
        first = self._lines.setdefault(key, line)
        return first if first != line else None


class Importer(ABC):
    """How the lines of one kind are understood and written.

    A file is gone through twice. First it is only understood, and what is wrong is listed. Then, behind `prepare`, it
    is understood anew, as things are under the locks, and written.
    """

    columns: Mapping[str, Column]
    ignored: frozenset[str] = frozenset()
    """Columns of an export that follow from something else."""

    @property
    def categories_missing(self) -> int:
        """How many categories will be created because lines name them."""
        return 0

    @property
    def locations_missing(self) -> int:
        return 0

    @abstractmethod
    async def understand(self, batch: Sequence[Line], errors: LineErrors) -> Sequence[RowBase]:
        """What the lines come to, as far as nothing is wrong with them."""

    @abstractmethod
    async def prepare(self) -> None:
        """Creates what the lines name and isn't there, and locks what they change, in the order of its ids."""

    @abstractmethod
    async def write(self, rows: Sequence[Any]) -> None: ...


def changed_meanwhile(what: str) -> Problem:
    detail = f"Somebody changed what the file is about while it was read: {what}. Nothing was kept; send it again."
    return conflict("changed-meanwhile", detail, RETRY_AFTER)


class Ids:
    """A great many ids in little memory."""

    def __init__(self) -> None:
        self._ids = array("q")

    def add(self, ids: Iterable[int]) -> None:
        self._ids.extend(ids)

    def in_order(self) -> Iterable[Sequence[int]]:
        """Each once, a batch at a time."""
        ids = sorted(set(self._ids))
        for start in range(0, len(ids), SIZE):
            yield ids[start : start + SIZE]
