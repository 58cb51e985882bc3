"""Fills a database with what looks like two years of lending, batch by batch."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.database import Database, broken_constraint
from inventory_api.fill import repository
from inventory_api.fill.words import DESIGNS

# What is lost by Ctrl-C, and held in memory by the database.
_BATCH = 50_000
_OPEN_PERCENT, _OVERDUE_PERCENT = 12, 30
Tell = Callable[[str, int, int], None]
"""Is told what is being made, how many there are, and of how many."""


@dataclass(frozen=True)
class Wanted:
    """What is to be made, which is the same again for the same values.

    `stock` is how many there are of each item; None: from 1 to 40. Of the items, `units_percent` are tracked by units,
    of which each has from one to five, whatever `stock` says. Times lie around `today`, which is a midnight.
    """

    items: int
    people: int
    loans: int
    seed: int
    today: datetime
    stock: int | None = None
    units_percent: int = 2


@dataclass(frozen=True)
class Made:
    items: int
    units: int
    people: int
    loans: int
    open_loans: int


class NotMadeError(Exception):
    """What was to be made is there already, or the database refuses it."""


async def fill(database: Database, wanted: Wanted, password_hash: str, tell: Tell) -> Made:
    """Makes all of it, people with this password. The batches before one that fails stay.

    Raises NotMadeError where anything of the same seed has been made before, or is in the way.
    """
    try:
        shelf_ids, category_ids = await _make_places(database, wanted.seed)
        people = await _make_people(database, wanted, password_hash, tell)
        units = await _make_items(database, wanted, shelf_ids, category_ids, tell)
        open_loans = min(wanted.items, -(-wanted.loans * _OPEN_PERCENT // 100))
        returned = await _make_returned_loans(database, wanted, wanted.loans - open_loans, tell)
        still_out = await _make_open_loans(database, wanted, open_loans, tell)
    except IntegrityError as error:
        raise NotMadeError(
            f"The database refused a batch by {broken_constraint(error)}: what was there before is in the way, "
            "or somebody changed what was just made. The batches before it stay."
        ) from error
    return Made(wanted.items, units, people, returned + still_out, still_out)


async def _make_places(database: Database, seed: int) -> tuple[list[int], list[int]]:
    """The ids of the shelves, and of the category of each design."""
    async with database.transaction() as session:
        if await repository.is_there(session, seed):
            raise NotMadeError(f"What seed {seed} makes, or a part of it, is there already. Choose another --seed.")
        return await repository.add_site(session, seed), await repository.add_categories(session, DESIGNS)


async def _make_people(database: Database, wanted: Wanted, password_hash: str, tell: Tell) -> int:
    add = partial(repository.add_people, seed=wanted.seed, today=wanted.today, password_hash=password_hash)
    return await _in_batches(database, "people", wanted.people, add, tell)


async def _make_items(
    database: Database, wanted: Wanted, shelf_ids: list[int], category_ids: list[int], tell: Tell
) -> int:
    """How many units they have."""
    async with database.transaction() as session:
        receiver_id = await repository.first_person(session, wanted.seed)
    add = partial(
        repository.add_items,
        seed=wanted.seed,
        today=wanted.today,
        units=wanted.units_percent,
        stock=wanted.stock,
        actor_id=receiver_id,
        shelf_ids=shelf_ids,
        category_ids=category_ids,
        names=[design.name for design in DESIGNS],
        codes=[design.code for design in DESIGNS],
        cents=[design.cents for design in DESIGNS],
    )
    return await _in_batches(database, "items", wanted.items, add, tell)


async def _make_returned_loans(database: Database, wanted: Wanted, loans: int, tell: Tell) -> int:
    add = partial(repository.add_returned_loans, **_lending(wanted), loans=loans, items=wanted.items)
    return await _in_batches(database, "returned loans", loans, add, tell)


async def _make_open_loans(database: Database, wanted: Wanted, loans: int, tell: Tell) -> int:
    # Each of one of so many items that follow one another, hence of another one.
    stride = wanted.items // max(loans, 1)
    overdue = -(-loans * _OVERDUE_PERCENT // 100)
    add = partial(repository.add_open_loans, **_lending(wanted), overdue=overdue, stride=stride)
    return await _in_batches(database, "open loans", loans, add, tell)


def _lending(wanted: Wanted) -> dict[str, Any]:
    staff = -(-wanted.people // repository.STAFF_EVERY)
    return {"seed": wanted.seed, "today": wanted.today, "people": wanted.people, "staff": staff}


async def _in_batches(
    database: Database, what: str, number: int, add: Callable[[AsyncSession, range], Awaitable[int]], tell: Tell
) -> int:
    """The sum of what `add` says of each batch of the numbers from 1 on."""
    found = 0
    tell(what, 0, number)
    for first in range(1, number + 1, _BATCH):
        rows = range(first, min(first + _BATCH, number + 1))
        async with database.transaction() as session:
            found += await add(session, rows)
        tell(what, rows[-1], number)
    return found
