"""How many imports and exports one pod has under way at most."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from inventory_api.problems import Problem

_RETRY_AFTER = {"Retry-After": "10"}


class Slots:
    def __init__(self, count: int, what: str) -> None:
        self._free = count
        self._what = what

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Raises a 503 Problem where all are taken: each has a connection to the database, which others need too."""
        if not self._free:
            detail = f"As many {self._what} as may be are under way. Send the request again in a while."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, _RETRY_AFTER)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


@dataclass(frozen=True)
class TransferSlots:
    imports: Slots
    exports: Slots
