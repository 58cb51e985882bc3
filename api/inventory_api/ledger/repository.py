from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ARRAY, BigInteger, and_, bindparam, func, insert, literal, or_, select, text
from sqlalchemy import column as sql_column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.ledger.models import EntryKind, StockEntry, StockLevel
from inventory_api.reads import ReadRow, Statement, rows_within

_DIFFERENCES = text(
    """
    WITH sums AS (
        SELECT item_id, location_id, sum(on_hand) AS on_hand, sum(on_loan) AS on_loan, sum(reserved) AS reserved
        FROM stock_entries GROUP BY item_id, location_id
    ), levels AS (
        SELECT item_id, location_id, on_hand, on_loan, reserved FROM stock_levels
    )
    SELECT item_id, location_id, 'level ' || coalesce(
        format('on hand %s, on loan %s, reserved %s', levels.on_hand, levels.on_loan, levels.reserved), 'missing'
    ) || '; ledger ' || coalesce(
        format('on hand %s, on loan %s, reserved %s', sums.on_hand, sums.on_loan, sums.reserved), 'empty'
    )
    FROM sums FULL JOIN levels USING (item_id, location_id)
    WHERE (sums.on_hand, sums.on_loan, sums.reserved) IS DISTINCT FROM (levels.on_hand, levels.on_loan, levels.reserved)
    UNION ALL
    SELECT items.id, NULL, format(
        'item owned %s, on loan %s, reserved %s; ledger owned %s, on loan %s, reserved %s', items.quantity,
        items.on_loan, items.reserved, coalesce(sums.quantity, 0), coalesce(sums.on_loan, 0), coalesce(sums.reserved, 0)
    )
    FROM items LEFT JOIN (
        SELECT item_id, sum(on_hand + on_loan) AS quantity, sum(on_loan) AS on_loan, sum(reserved) AS reserved
        FROM sums GROUP BY item_id
    ) AS sums ON sums.item_id = items.id
    WHERE (items.quantity, items.on_loan, items.reserved)
        IS DISTINCT FROM (coalesce(sums.quantity, 0), coalesce(sums.on_loan, 0), coalesce(sums.reserved, 0))
    UNION ALL
    SELECT items.id, NULL, format('%s on loan, but open loans of %s', items.on_loan, coalesce(open.out, 0))
    FROM items LEFT JOIN (
        SELECT item_id, sum(quantity - returned - lost) AS out FROM loans
        WHERE returned_at IS NULL GROUP BY item_id
    ) AS open ON open.item_id = items.id
    WHERE items.tracking <> 'kit' AND items.on_loan <> coalesce(open.out, 0)
    UNION ALL
    SELECT items.id, NULL, format(
        '%s owned and %s on loan, but %s units of which %s on loan', items.quantity, items.on_loan,
        coalesce(pieces.owned, 0), coalesce(pieces.lent, 0)
    )
    FROM items LEFT JOIN (
        SELECT item_id, count(*) FILTER (WHERE state NOT IN ('retired', 'lost')) AS owned, count(loan_id) AS lent
        FROM units GROUP BY item_id
    ) AS pieces ON pieces.item_id = items.id
    WHERE items.tracking = 'units'
        AND (items.quantity, items.on_loan) IS DISTINCT FROM (coalesce(pieces.owned, 0), coalesce(pieces.lent, 0))
    UNION ALL
    SELECT item_id, location_id, format(
        'reserved %s, but %s set aside or in repair', coalesce(stock_levels.reserved, 0), coalesce(aside.pieces, 0)
    )
    FROM stock_levels FULL JOIN (
        SELECT item_id, location_id, sum(pieces) AS pieces FROM (
            SELECT item_id, location_id, quantity FROM reservations WHERE status = 'ready'
            UNION ALL
            SELECT item_id, location_id, 1 FROM units WHERE state = 'in-repair'
        ) AS each (item_id, location_id, pieces) GROUP BY item_id, location_id
    ) AS aside USING (item_id, location_id)
    WHERE coalesce(stock_levels.reserved, 0) <> coalesce(aside.pieces, 0)
    UNION ALL
    SELECT reservations.item_id, NULL, format(
        'reservation %s of %s units has %s of them', reservations.id, reservations.quantity,
        count(unit_bookings.id)
    )
    FROM reservations JOIN items ON items.id = reservations.item_id AND items.tracking = 'units'
    LEFT JOIN unit_bookings ON unit_bookings.reservation_id = reservations.id
    WHERE status IN ('booked', 'ready')
    GROUP BY reservations.id HAVING count(unit_bookings.id) <> reservations.quantity
    ORDER BY 1, 2
    """
)
_IDS = ARRAY(BigInteger)
_ANYTHING = or_(StockLevel.on_hand > 0, StockLevel.on_loan > 0)


@dataclass(frozen=True)
class Entry:
    """What changes at a location, as differences."""

    item_id: int
    location_id: int
    kind: EntryKind
    on_hand: int = 0
    on_loan: int = 0
    reserved: int = 0
    unit_id: int | None = None
    loan_id: int | None = None
    actor_id: int | None = None
    reason: str = ""


# Made once: a check-out has little else to do.
_ENTER = Statement(
    insert(StockEntry).values({field.name: bindparam(field.name) for field in fields(Entry)}).returning(StockEntry)
)
_LEFT = (StockLevel.on_hand - StockLevel.reserved).label("available")
_FULLEST = Statement(
    select(StockLevel.location_id, _LEFT)
    .where(StockLevel.item_id == bindparam("item_id"))
    .order_by(_LEFT.desc(), StockLevel.location_id)
    .limit(1)
)


async def enter(session: AsyncSession, entries: Sequence[Entry]) -> Sequence[ReadRow]:
    """The entries' columns, in the order given; the items' locks are held.

    Raises asyncpg's CheckViolationError where a level would fall below zero.
    """
    found = [await rows_within(session, _ENTER, **vars(entry)) for entry in entries]
    return [rows[0] for rows in found]


async def enter_many(session: AsyncSession, entries: Sequence[Entry]) -> None:
    """The same for a great many, none of which is wanted back. Raises IntegrityError."""
    table = StockEntry.__table__
    columns = [sql_column(field.name, table.c[field.name].type) for field in fields(Entry)]
    rows = literal([vars(entry) for entry in entries], JSONB)
    given = func.jsonb_to_recordset(rows).table_valued(*columns).render_derived("given", with_types=True)
    await session.execute(insert(StockEntry).from_select([each.name for each in columns], select(given)))


async def levels(session: AsyncSession, item_id: int) -> Sequence[StockLevel]:
    """Where there is anything of an item, or was lent from, in the order of the locations' ids."""
    statement = select(StockLevel).where(StockLevel.item_id == item_id, _ANYTHING).order_by(StockLevel.location_id)
    return (await session.scalars(statement)).all()


async def level(session: AsyncSession, item_id: int, location_id: int) -> StockLevel | None:
    return await session.get(StockLevel, (item_id, location_id), populate_existing=True)


async def fullest(session: AsyncSession, item_id: int) -> tuple[int, int] | None:
    """The location with the most that is available, and how many that are; None where nothing was ever entered.

    The item's lock is held.
    """
    found = await rows_within(session, _FULLEST, item_id=item_id)
    return (found[0]["location_id"], found[0]["available"]) if found else None


async def available(session: AsyncSession, item_id: int) -> dict[int, int]:
    """How many of an item could be taken now, by location, whatever the session has read before."""
    left = StockLevel.on_hand - StockLevel.reserved
    statement = select(StockLevel.location_id, left).where(StockLevel.item_id == item_id, left > 0)
    return {row[0]: row[1] for row in await session.execute(statement)}


async def entries_before(
    session: AsyncSession, before: int | None, limit: int, filters: Mapping[str, Any]
) -> Sequence[StockEntry]:
    """The newest first. `filters` has the wanted values of columns."""
    statement = select(StockEntry).order_by(StockEntry.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(StockEntry.id < before)
    for column, value in filters.items():
        statement = statement.where(getattr(StockEntry, column) == value)
    return (await session.scalars(statement)).all()


async def differences(session: AsyncSession) -> Sequence[tuple[int, int | None, str]]:
    """Where a figure isn't what the ledger's entries add up to: item, location, and what differs. None, ever."""
    return [(row[0], row[1], row[2]) for row in await session.execute(_DIFFERENCES)]


async def is_moved(session: AsyncSession, **where: int) -> bool:
    """Whether there is an entry with these values, as in `item_id=1`."""
    statement = select(func.count()).select_from(select(StockEntry.id).filter_by(**where).limit(1).subquery())
    return bool(await session.scalar(statement))


async def levels_at(session: AsyncSession, location_id: int, after_item: int, limit: int) -> Sequence[StockLevel]:
    """What a location has or has lent, in the order of the items' ids."""
    statement = (
        select(StockLevel)
        .where(StockLevel.location_id == location_id, StockLevel.item_id > after_item, _ANYTHING)
        .order_by(StockLevel.item_id)
        .limit(limit)
    )
    return (await session.scalars(statement)).all()


async def levels_of(session: AsyncSession, places: Collection[tuple[int, int]]) -> Sequence[StockLevel]:
    """The levels there are of items at locations, given as pairs of ids, as they are now."""
    item_ids, location_ids = [item_id for item_id, _ in places], [location_id for _, location_id in places]
    pairs = func.unnest(literal(item_ids, _IDS), literal(location_ids, _IDS))
    wanted = pairs.table_valued("item_id", "location_id").render_derived("wanted")
    same = and_(wanted.c.item_id == StockLevel.item_id, wanted.c.location_id == StockLevel.location_id)
    statement = select(StockLevel).join(wanted, same).execution_options(populate_existing=True)
    return (await session.scalars(statement)).all()
