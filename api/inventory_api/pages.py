"""Lists in pages: a bounded limit, and a cursor that neither skips nor repeats while rows come and go."""

import base64
import binascii
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from inventory_api.fields import MAX_ID, Input, Output, Text
from inventory_api.problems import Problem

MAX_LIMIT = 200
Row = TypeVar("Row")
Shape = TypeVar("Shape", bound=Output)


class PageQuery(Input):
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: Text | None = Field(default=None, max_length=64, description="`next_cursor` of the page before")

    @property
    def after(self) -> int:
        """The id that the page before ended with; 0 for the first page."""
        return _decode(self.cursor) if self.cursor else 0


class Page(BaseModel, Generic[Shape]):
    items: list[Shape]
    next_cursor: str | None = Field(description="null on the last page")


def page_of(rows: Sequence[Row], query: PageQuery, shape: type[Shape], identifier: Callable[[Row], int]) -> Page[Shape]:
    """`rows` holds one row more than asked for if there is a next page."""
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return Page(
        items=[shape.model_validate(row) for row in shown],
        next_cursor=_encode(identifier(shown[-1])) if more else None,
    )


def _encode(after: int) -> str:
    return base64.urlsafe_b64encode(f"id:{after}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> int:
    try:
        kind, _, value = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        after = int(value)
    except (ValueError, binascii.Error):
        kind, after = "", 0
    if kind != "id" or not 0 < after <= MAX_ID:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-cursor", "The cursor is not one of this API's.")
    return after
