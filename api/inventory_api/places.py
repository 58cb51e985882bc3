"""Lists in pages, in the order of a number and, where that is the same, of the ids."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TypeVar

from pydantic import Field

from inventory_api.fields import MAX_ID, Input, Output, Text
from inventory_api.pages import MAX_LIMIT, Page
from inventory_api.problems import Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
Row = TypeVar("Row")
Shape = TypeVar("Shape", bound=Output)


class PlaceQuery(Input):
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: Text | None = Field(default=None, max_length=64, description="`next_cursor` of the page before")

    @property
    def after(self) -> tuple[int, int] | None:
        """The number and the id that the page before ended with; None for the first page."""
        return _decode(self.cursor) if self.cursor is not None else None

    @property
    def after_moment(self) -> tuple[datetime, int] | None:
        """The same in a list in the order of a time, of which `number_of` makes the number."""
        if self.after is None:
            return None
        try:
            return _EPOCH + self.after[0] * _MICROSECOND, self.after[1]
        except OverflowError:
            raise _not_ours() from None


def number_of(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def page_of_places(
    rows: Sequence[Row], query: PlaceQuery, shape: type[Shape], place: Callable[[Row], tuple[int, int]]
) -> Page[Shape]:
    """`rows` holds one row more than asked for if there is a next page; `place` says a row's number and id."""
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return Page(
        items=[shape.model_validate(row) for row in shown],
        next_cursor=_encode(*place(shown[-1])) if more else None,
    )


def _encode(number: int, identifier: int) -> str:
    return base64.urlsafe_b64encode(f"at:{number}:{identifier}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[int, int]:
    try:
        kind, number, identifier = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(":")
        place = int(number), int(identifier)
    except (ValueError, binascii.Error):
        kind, place = "", (0, 0)
    if kind != "at" or abs(place[0]) > MAX_ID or not 0 < place[1] <= MAX_ID:
        raise _not_ours()
    return place


def _not_ours() -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-cursor", "The cursor is not one of this API's.")
