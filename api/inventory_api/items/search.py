"""The list of items, at a price that has a bound, whatever is looked for among however many.

- An order alone, or in a branch of the categories or the locations, is read from an index that has this order.
- What is rare by the planner's estimate, be it by a word, a category or its stock, is gathered and sorted.
- For anything else the next rows in the order are looked at, a few thousand at most. The page holds those of them that
  match, which may be fewer than it has room for, and the next page begins where the look ended.

A statement is put together from the texts of this module alone; all that a caller gives is a parameter of it.
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Integer, column, text

from inventory_api.items.models import APART, Item, Tracking
from inventory_api.items.schemas import ItemQuery
from inventory_api.pages import Position
from inventory_api.reads import ReadRow, Reads, Statement

# So many items that may match are gathered.
MOST = 2_000
# So many rows are looked at for one page, and so many more while none of them matches.
LOOKS = (2_000, 8_000, 32_000)
# The planner's price of reading MOST rows, each from another place, and of finding them. What it takes to cost more has
# no index that leads there.
_DEAREST = 5 * MOST
# A beginning that more codes have leads to so many of them.
_MOST_CODES = 200
# A shorter word has no three letters in a row, which are what the index knows; it has the beginnings of words, though.
_SHORT = 3
# It comes after every character, and is none itself, so nothing that begins with a code comes after both.
_LAST = chr(sys.maxunicode)

# Each way to ask has a few; there are some hundreds of ways.
_STATEMENTS = 500

_AVAILABLE = column("available", Integer)
_COLUMNS = (*Item.__table__.columns, _AVAILABLE)
_ITEM = ", ".join(f"item.{each.name}" for each in Item.__table__.columns)
_ITEM += ", item.quantity - item.on_loan - item.reserved AS available"
_LEVELS = "(SELECT item_id AS id, location_id, on_hand, on_loan FROM stock_levels) AS item"
_STOCKED = "(on_hand > 0 OR on_loan > 0)"
_ALL_WORDS = "(' ' || lower(items.name)) ~ lower(:all_words)"
# Beginnings are asked for as ranges, and in order. LIKE has no range in a plan that is made for any beginning, which is
# what PostgreSQL may use from the sixth time on; and without the order it may go through the table in the hope of soon
# meeting enough. Either takes the longer the more items there are.
_CODED = """
    (
        SELECT id FROM items WHERE lower(sku) ~>=~ lower(:code) AND lower(sku) ~<~ lower(:codes_end)
        ORDER BY lower(sku) USING ~<~ LIMIT :most_codes
    )
    UNION ALL SELECT id FROM items WHERE barcode = :code
    UNION ALL (
        SELECT item_id FROM units WHERE lower(serial) ~>=~ lower(:code) AND lower(serial) ~<~ lower(:codes_end)
        ORDER BY lower(serial) USING ~<~ LIMIT :most_codes
    )
    UNION ALL SELECT item_id FROM units WHERE barcode = :code
"""


@dataclass(frozen=True)
class Found:
    items: Sequence[ReadRow]
    end: Position | None
    """The next page begins after it; None if this is the last one."""


@dataclass(frozen=True)
class _Wanted:
    query: ItemQuery
    start: Position | None
    categories: Sequence[int] | None
    locations: Sequence[int] | None
    end: Position | None = None
    """Where the look ends, if it has an end before that of the list."""

    @property
    def in_order_of_ids(self) -> bool:
        return self.query.column == "id"

    @property
    def by_category(self) -> bool:
        """Whether an index has each category's items in this order."""
        return self.categories is not None and self.query.column in ("id", "name")

    @property
    def by_location(self) -> bool:
        return self.locations is not None and self.in_order_of_ids and not self.by_category

    @property
    def groups(self) -> Sequence[int] | None:
        """Those each of which has a list of its own in this order; None where there is one list of all."""
        if self.by_category:
            return self.categories
        return self.locations if self.by_location else None

    @property
    def apart(self) -> str | None:
        """Which few items alone are asked for, if any."""
        if self.query.archived:
            return "archived"
        if self.query.tracking is Tracking.KIT:
            return "kit"
        return "low" if self.query.below_minimum else None

    @property
    def is_narrow(self) -> bool:
        """Whether something is asked for that an index may have few of, and that no list in this order has alone."""
        return (
            self.query.q is not None
            or (self.categories is not None and not self.by_category)
            or (self.locations is not None and not self.by_location)
            or (self.apart is not None and not self.in_order_of_ids)
        )

    @property
    def is_filtered(self) -> bool:
        """Whether something is asked for that no index knows."""
        query = self.query
        return (
            query.available_only
            or (query.tracking is not None and self.apart != "kit")
            or (query.below_minimum and self.apart != "low")
        )


async def page(
    reads: Reads, query: ItemQuery, categories: Sequence[int] | None, locations: Sequence[int] | None
) -> Found:
    """Items in one of the categories and at one of the locations, where any are given.

    Raises a 422 Problem where the cursor is not one of a list in this order.
    """
    wanted = _Wanted(query, query.start, categories, locations)
    if wanted.is_narrow and await _is_rare(reads, wanted):
        found = await _gather(reads, wanted)
        if found is not None:
            return found
    if wanted.is_narrow or wanted.is_filtered:
        return await _look_through(reads, wanted)
    if wanted.by_location:
        # A location has archived items among its others.
        return await _look(reads, wanted, 4 * query.limit)
    if wanted.by_category:
        return await _read_categories(reads, wanted)
    return await _found(reads, wanted, _list(wanted, _ITEM))


async def _read_categories(reads: Reads, wanted: _Wanted) -> Found:
    """The next items in the order from each category's own list."""
    count, groups = wanted.query.limit + 1, len(wanted.categories or ())
    # From each as many as will probably be among the next; only if they are too few, all that might be.
    likely = 4 * count // max(groups, 1) + 2
    if likely < count:
        found = await _look(reads, wanted, likely * groups)
        if found.end is None or len(found.items) == wanted.query.limit:
            return found
    return await _found(reads, wanted, _matching(wanted), share=count)


async def _is_rare(reads: Reads, wanted: _Wanted) -> bool:
    """By the planner's estimate."""
    plan = await _planned(reads, wanted, _words(wanted, "items"))
    if plan["Plan Rows"] > MOST or plan["Total Cost"] > _DEAREST:
        return False
    if len(wanted.query.words) <= 1:
        return True
    # By one condition for each word the planner takes the words for independent: of a drill in a hundred and a cordless
    # item in a hundred, one in ten thousand is both. One condition for all it tries on its sample of names.
    return bool((await _planned(reads, wanted, [_ALL_WORDS]))["Plan Rows"] <= MOST)


async def _planned(reads: Reads, wanted: _Wanted, conditions: list[str]) -> dict[str, Any]:
    """How the planner would find all that match: how many it takes them for, at what price."""
    explain = f"EXPLAIN (FORMAT JSON) {_by_indexes(wanted, conditions)}"
    (row,) = await reads.rows(_statement(explain), **_parameters(wanted))
    plan: dict[str, Any] = json.loads(row["QUERY PLAN"])[0]["Plan"]
    return plan


async def _gather(reads: Reads, wanted: _Wanted) -> Found | None:
    """All that match, sorted; None if they are too many for that."""
    every = _by_indexes(wanted, _words(wanted, "items"))
    if wanted.query.q is not None:
        every += f" UNION ALL {_by_indexes(wanted, [f'items.id IN ({_CODED})'])}"
    # It is planned for all, and read for some: a plan for some would bet on soon meeting them among all the rows.
    few = f"""
        WITH every AS MATERIALIZED ({every}), few AS MATERIALIZED (SELECT id FROM every LIMIT :most + 1)
    """
    conditions = ["item.id IN (SELECT id FROM few)", "(SELECT count(*) FROM few) <= :most", *_filters(wanted)]
    # One row at least, which has no item if there is none.
    statement = f"""
        {few} SELECT item.*, are_many FROM (SELECT count(*) > :most AS are_many FROM few) AS counted
        LEFT JOIN (
            SELECT {_ITEM} FROM items AS item WHERE {_all(conditions + _beyond(wanted, "item"))}
        ) AS item ON true
        ORDER BY {_order(wanted, "item")}
    """
    found = await _found(reads, wanted, statement)
    if found.items[0]["are_many"]:
        return None
    return found if found.items[0]["id"] is not None else Found((), None)


async def _look_through(reads: Reads, wanted: _Wanted) -> Found:
    """Those of the next rows in the order that match; where none of a few does, of more."""
    found = Found((), wanted.start)
    for most in LOOKS:
        found = await _look(reads, replace(wanted, start=found.end), most)
        if found.items or found.end is None:
            break
    return found


async def _look(reads: Reads, wanted: _Wanted, most: int) -> Found:
    """Those of the next rows that match."""
    share = max(most // len(wanted.groups), 1) if wanted.groups else most
    row = await reads.row(_statement(_last_of_share(wanted)), **_parameters(wanted, share=share))
    until = replace(wanted, end=_place_of(wanted, row) if row else None)
    found = await _found(reads, until, _matching(until), share=share)
    return found if found.end else Found(found.items, until.end)


async def _found(reads: Reads, wanted: _Wanted, statement: str, **more: Any) -> Found:
    """A page of the statement's items, and a next one if there is one more of them."""
    limit = wanted.query.limit
    parameters = _parameters(wanted, count=limit + 1, **more)
    items = await reads.rows(_statement_of_items(f"{statement} LIMIT :count"), **parameters)
    return Found(items[:limit], _place_of(wanted, items[limit - 1]) if len(items) > limit else None)


@lru_cache(maxsize=_STATEMENTS)
def _statement(sql: str) -> Statement:
    return Statement(text(sql))


@lru_cache(maxsize=_STATEMENTS)
def _statement_of_items(sql: str) -> Statement:
    return Statement(text(sql).columns(*_COLUMNS))


def _place_of(wanted: _Wanted, row: ReadRow) -> Position:
    return Position(wanted.query.sort, row[wanted.query.column], row["id"])


def _matching(wanted: _Wanted) -> str:
    """The items of the next rows of the list, or of each group's up to the end of the look, that match.

    Where the rows have the names, only those are fetched whose names have the words.
    """
    words = _words(wanted, "item" if wanted.by_location else "next")
    if words:
        words = [f"({_all(words)} OR next.id IN ({_CODED}))"]
    return f"""
        SELECT {_ITEM} FROM ({_next_rows(wanted)}) AS next
        CROSS JOIN LATERAL (SELECT * FROM items WHERE items.id = next.id LIMIT 1) AS item
        WHERE {_all(words + _filters(wanted))} ORDER BY {_order(wanted, "next")}
    """


def _next_rows(wanted: _Wanted) -> str:
    """The next `share` rows of the list or, up to the end of the look, of each group's, all in the list's order."""
    rows = f"{_list(wanted, _keys(wanted))} LIMIT :share"
    if wanted.groups is None:
        return rows
    # An item may be at several locations.
    return f"""
        SELECT DISTINCT found.* FROM unnest(CAST(:groups AS bigint[])) AS each (id) CROSS JOIN LATERAL ({rows}) AS found
        ORDER BY {_order(wanted, "found")} LIMIT :share * cardinality(:groups)
    """


def _last_of_share(wanted: _Wanted) -> str:
    """The place up to which the next `share` rows, of the list or of each group's, are all that there are."""
    last = f"{_list(wanted, _keys(wanted))} OFFSET :share - 1 LIMIT 1"
    if wanted.groups is None:
        return last
    return f"""
        SELECT found.* FROM unnest(CAST(:groups AS bigint[])) AS each (id) CROSS JOIN LATERAL ({last}) AS found
        ORDER BY {_order(wanted, "found")} LIMIT 1
    """


def _list(wanted: _Wanted, selected: str) -> str:
    """The list from its start on, or that of each group."""
    if wanted.by_location:
        source, conditions = _LEVELS, ["item.location_id = each.id", _STOCKED]
    else:
        source, conditions = "items AS item", [_source(wanted)]
        if wanted.by_category:
            conditions.append("item.category_id = each.id")
    return f"""
        SELECT {selected} FROM {source} WHERE {_all(conditions + _beyond(wanted, "item"))}
        ORDER BY {_order(wanted, "item")}
    """


def _keys(wanted: _Wanted) -> str:
    """What tells where an item is in the order, and its name if words are asked for: as much as is in the index."""
    names = {"id", wanted.query.column} | ({"name"} if wanted.query.q and not wanted.by_location else set())
    return ", ".join(f"item.{name}" for name in sorted(names))


def _source(wanted: _Wanted) -> str:
    """What is in the list at all, by a condition with indexes in the list's order."""
    if wanted.apart and (wanted.in_order_of_ids or wanted.query.archived):
        return f"{APART} = '{wanted.apart}'"
    return "archived_at IS NULL"


def _by_indexes(wanted: _Wanted, conditions: list[str]) -> str:
    """The ids of all that match by these and what indexes know else."""
    known = [f"{APART} = '{wanted.apart}'" if wanted.apart else "archived_at IS NULL", *conditions]
    if wanted.categories is not None:
        known.append("category_id = ANY(:categories)")
    if wanted.locations is not None:
        known.append(f"id IN (SELECT item_id FROM stock_levels WHERE location_id = ANY(:locations) AND {_STOCKED})")
    return f"SELECT id FROM items WHERE {_all(known)}"


def _filters(wanted: _Wanted) -> list[str]:
    """All that is asked for but words, of `item`."""
    query = wanted.query
    filters = ["item.archived_at IS NOT NULL" if query.archived else "item.archived_at IS NULL"]
    if query.tracking is not None:
        filters.append("item.tracking = :tracking")
    if query.below_minimum:
        filters.append("item.quantity < item.minimum_stock")
    if query.available_only:
        filters.append("item.quantity - item.on_loan - item.reserved > 0")
    if wanted.categories is not None and not wanted.by_category:
        filters.append("item.category_id = ANY(:categories)")
    if wanted.locations is not None and not wanted.by_location:
        # Asked of one item after the other: all that is there may be far more than what is looked at.
        filters.append(
            "(SELECT true FROM stock_levels WHERE item_id = item.id AND location_id = ANY(:locations) "
            f"AND {_STOCKED} LIMIT 1)"
        )
    return filters


def _words(wanted: _Wanted, of: str) -> list[str]:
    """That a name has each of the words; as in the index."""
    words = range(len(wanted.query.words))
    return [f"(' ' || lower({of}.name)) LIKE lower(:word_{number})" for number in words]


def _beyond(wanted: _Wanted, of: str) -> list[str]:
    """What comes after the start and, if the look has an end, not after that."""
    columns = ", ".join(f"{of}.{name}" for name in _order_columns(wanted))
    after, until = ("<", ">=") if wanted.query.descending else (">", "<=")
    beyond = []
    if wanted.start is not None:
        beyond.append(f"({columns}) {after} ({_place(wanted, 'start')})")
    if wanted.end is not None and wanted.groups is not None:
        beyond.append(f"({columns}) {until} ({_place(wanted, 'end')})")
    return beyond


def _place(wanted: _Wanted, name: str) -> str:
    return ", ".join(f":{name}_{column}" for column in _order_columns(wanted))


def _order(wanted: _Wanted, of: str) -> str:
    return ", ".join(f"{of}.{name} {'DESC' if wanted.query.descending else 'ASC'}" for name in _order_columns(wanted))


def _order_columns(wanted: _Wanted) -> Sequence[str]:
    return ("id",) if wanted.in_order_of_ids else (wanted.query.column, "id")


def _all(conditions: Sequence[str]) -> str:
    return " AND ".join(conditions)


def _parameters(wanted: _Wanted, **more: Any) -> dict[str, Any]:
    query = wanted.query
    parameters = {"most": MOST, "most_codes": _MOST_CODES, "tracking": query.tracking, **more}
    parameters |= {"categories": wanted.categories, "locations": wanted.locations, "groups": wanted.groups}
    for name, place in (("start", wanted.start), ("end", wanted.end)):
        if place is not None:
            parameters |= {f"{name}_id": place.id, f"{name}_{query.column}": place.key}
    if query.q is not None:
        parameters |= {"code": query.q, "codes_end": query.q + _LAST}
        parameters |= {f"word_{number}": _pattern(word) for number, word in enumerate(query.words)}
        parameters["all_words"] = _pattern_of_all(query.words)
    return parameters


def _pattern(word: str) -> str:
    return f"%{_begun(_escaped(word), word)}%"


def _pattern_of_all(words: Sequence[str]) -> str:
    """A regular expression that has all of what `_pattern` makes of each.

    For estimates alone: no index leads there. It is anchored, or it would be tried at each letter anew.
    """
    return "^" + "".join(f"(?=.*{_begun(re.escape(word), word)})" for word in words)


def _begun(given: str, word: str) -> str:
    return given if len(word) >= _SHORT else f" {given}"


def _escaped(given: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", given)
