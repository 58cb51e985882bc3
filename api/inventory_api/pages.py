"""Lists in pages: a bounded limit, and a cursor that neither skips nor repeats while rows come and go."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from inventory_api.fields import MAX_ID, Input, Output, Text
from inventory_api.problems import Problem

MAX_LIMIT = 200
_ID = "id"
Row = TypeVar("Row")
Shape = TypeVar("Shape", bound=Output)


@dataclass(frozen=True)
class Position:
    """A place in a list that is sorted by `sort`: where its key and, among equal ones, its id would be."""

    sort: str
    key: Any
    id: int


class PageQuery(Input):
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: Text | None = Field(default=None, max_length=64, description="`next_cursor` of the page before")

    @property
    def after(self) -> int:
        """The id that the page before ended with; 0 for the first page."""
        if self.cursor is None:
            return 0
        sort, identifier, _ = _decode(self.cursor)
        if sort != _ID:
            raise _invalid()
        return identifier


class SortedQuery(PageQuery):
    """A list that comes in other orders, too: by a column and then by the id, with a minus the other way round.

    A list narrows `sort` to those that it knows, and says in `keys` how each column's values are read.
    """

    keys: ClassVar[Mapping[str, TypeAdapter[Any]]] = {}

    sort: str = _ID
    # The longest name, of which each character takes four bytes, with all that is around it.
    cursor: Text | None = Field(default=None, max_length=1200, description="`next_cursor` of the page before")

    @property
    def column(self) -> str:
        return self.sort.removeprefix("-")

    @property
    def descending(self) -> bool:
        return self.sort.startswith("-")

    @property
    def start(self) -> Position | None:
        """Where the page before ended; None for the first page. Raises a 422 Problem if that was in another order."""
        if self.cursor is None:
            return None
        sort, identifier, key = _decode(self.cursor)
        if sort != self.sort:
            raise _invalid("The cursor is not one of a list in this order.")
        return Position(sort, identifier if self.column == _ID else _read(key, self.keys[self.column]), identifier)

    def position_of(self, row: Any) -> Position:
        return Position(self.sort, getattr(row, self.column), row.id)


class Page(BaseModel, Generic[Shape]):
    items: list[Shape]
    next_cursor: str | None = Field(description="null on the last page")


def page_of(
    rows: Sequence[Row], query: PageQuery, shape: type[Shape], place: Callable[[Row], int | Position]
) -> Page[Shape]:
    """`rows` holds one row more than asked for if there is a next page.

    `place` says where a row is in the list: its id, or `query.position_of` in a list with a sort order.
    """
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return page_until(shown, shape, place(shown[-1]) if more else None)


def page_until(rows: Sequence[Row], shape: type[Shape], end: int | Position | None) -> Page[Shape]:
    """A page of all these rows; the next one, unless `end` is None, begins after that place."""
    return Page(
        items=[shape.model_validate(row) for row in rows],
        next_cursor=None if end is None else _encode(end),
    )


def _encode(place: int | Position) -> str:
    if isinstance(place, int):
        place = Position(_ID, place, place)
    text = f"{place.sort}:{place.id}"
    if place.sort.removeprefix("-") != _ID:
        text += ":" + (place.key.isoformat() if isinstance(place.key, datetime) else str(place.key))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[str, int, str]:
    """The order, the id and the key that a page ended with."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        sort, _, rest = text.partition(":")
        identifier, _, key = rest.partition(":")
        after = int(identifier)
    except (ValueError, binascii.Error):
        raise _invalid() from None
    if not 0 < after <= MAX_ID:
        raise _invalid()
    return sort, after, key


def _read(key: str, kind: TypeAdapter[Any]) -> Any:
    try:
        return kind.validate_python(key)
    except ValidationError:
        raise _invalid() from None


def _invalid(detail: str = "The cursor is not one of this API's.") -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-cursor", detail)
