import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inventory_api.fields import MAX_ID, Moment, Output, Text
from inventory_api.pages import PageQuery, Position, SortedQuery, page_of, page_until
from inventory_api.problems import Problem
from pydantic import Field, TypeAdapter


class Query(SortedQuery):
    keys: ClassVar[Mapping[str, TypeAdapter[Any]]] = {
        "name": TypeAdapter(Annotated[Text, Field(max_length=200)]),
        "size": TypeAdapter(Annotated[int, Field(ge=0, le=100)]),
        "at": TypeAdapter(Moment),
    }


@dataclass
class Row:
    id: int
    name: str = ""
    size: int = 0
    at: datetime = datetime(2030, 1, 1, tzinfo=UTC)


class RowShown(Output):
    id: int


IDS = st.integers(1, MAX_ID)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
ROWS = st.builds(
    Row,
    id=IDS,
    name=NAMES,
    size=st.integers(0, 100),
    at=st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
)


@given(ROWS, st.sampled_from(["id", "-id", "name", "-name", "size", "-size", "at", "-at"]))
def test_the_next_page_begins_where_the_one_before_ended(row: Row, sort: str) -> None:
    page = page_of([row, row], Query(sort=sort, limit=1), RowShown, Query(sort=sort).position_of)

    start = Query(sort=sort, cursor=page.next_cursor).start

    assert start == Position(sort, getattr(row, sort.removeprefix("-")), row.id)


@given(IDS)
def test_a_list_in_the_order_of_ids_has_the_same_cursor_with_sort_orders_and_without(identifier: int) -> None:
    cursor = page_until([], RowShown, identifier).next_cursor

    assert PageQuery(cursor=cursor).after == identifier
    assert SortedQuery(cursor=cursor).start == Position("id", identifier, identifier)


def test_the_last_page_has_no_cursor() -> None:
    assert page_of([Row(1)], PageQuery(limit=1), RowShown, lambda row: row.id).next_cursor is None
    assert page_of([], PageQuery(limit=1), RowShown, lambda row: row.id).next_cursor is None


def test_a_time_is_the_same_in_any_zone() -> None:
    here = Row(7, at=datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    page = page_of([here, here], Query(sort="at", limit=1), RowShown, Query(sort="at").position_of)

    assert Query(sort="at", cursor=page.next_cursor).start == Position("at", here.at, 7)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("sort", "text"),
    [
        ("id", "id:0"),
        ("id", f"id:{MAX_ID + 1}"),
        ("id", "id:x"),
        ("id", "name:7:a"),
        ("name", "id:7"),
        ("name", "-name:7:a"),
        ("-name", "name:7:a"),
        ("name", "name:0:a"),
        ("name", "name:7:" + "x" * 201),
        ("name", "name:7:a\0"),
        ("size", "size:7:x"),
        ("size", "size:7:101"),
        ("size", "size:7"),
        ("at", "at:7:yesterday"),
        ("at", "at:7:2030-01-01T00:00:00"),
        ("at", "at:7:9999-12-31T23:59:59-12:00"),
        ("id", ""),
    ],
)
def test_a_cursor_that_is_none_of_this_list_is_refused(sort: str, text: str) -> None:
    with pytest.raises(Problem) as refused:
        _ = Query(sort=sort, cursor=encoded(text)).start

    assert (refused.value.status, refused.value.kind) == (422, "invalid-cursor")


@pytest.mark.parametrize("cursor", ["x", "====", "ümlaut", "\N{GRINNING FACE}", "_w", "a" * 1200])
def test_what_is_no_cursor_at_all_is_refused(cursor: str) -> None:
    for query in (Query(sort="name", cursor=cursor), Query(sort="id", cursor=cursor)):
        with pytest.raises(Problem):
            _ = query.start


@given(st.text(max_size=64))
def test_whatever_is_sent_as_a_cursor_is_read_or_refused(cursor: str) -> None:
    try:
        query = Query(sort="at", cursor=cursor)
    except ValueError:
        return
    with pytest.raises(Problem):
        _ = query.start
