from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, insert, select, text, true, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.fields import MAX_QUANTITY
from inventory_api.items.models import Item
from inventory_api.ledger.models import StockEntry, StockLevel
from inventory_api.stocktakes import findings
from inventory_api.stocktakes.findings import CountedItem, CountedUnit, Finding, Whereabouts
from inventory_api.stocktakes.models import Stocktake, StocktakeLine, StocktakeScan, StocktakeStatus
from inventory_api.units.models import Unit


def _counts(of_items: str) -> str:
    """What was counted of items; a total replaces what was scanned before it."""
    return f"""
    scans AS (
        SELECT id, item_id, quantity, on_hand, entry_id,
            max(id) FILTER (WHERE is_total) OVER (PARTITION BY item_id) AS total_id
        FROM stocktake_scans
        WHERE stocktake_id = :stocktake_id AND unit_id IS NULL AND undone_at IS NULL AND {of_items}
    ), counts AS (
        SELECT item_id, sum(quantity) AS counted, (array_agg(on_hand ORDER BY id DESC))[1] AS expected,
            min(entry_id) <> max(entry_id) AS moved
        FROM scans WHERE id >= coalesce(total_id, 0) GROUP BY item_id
    )
    """  # noqa: S608 - it is written below


# The few items of a page are known before anything else is read.
_ALL_ITEMS = text(
    f"""
    WITH page AS (
        SELECT item_id FROM (
            (
                SELECT item_id FROM stock_levels JOIN items ON items.id = item_id AND items.tracking = 'quantity'
                WHERE location_id = :location_id AND item_id > :after AND on_hand > 0
                ORDER BY item_id LIMIT :limit
            ) UNION (
                SELECT DISTINCT item_id FROM stocktake_scans
                WHERE stocktake_id = :stocktake_id AND item_id > :after AND unit_id IS NULL AND undone_at IS NULL
                ORDER BY item_id LIMIT :limit
            )
        ) AS either ORDER BY item_id LIMIT :limit
    ), {_counts("item_id IN (SELECT item_id FROM page)")}
    SELECT items.id, items.sku, items.name, coalesce(counts.expected, stock_levels.on_hand), counts.counted,
        coalesce(counts.moved, stock_levels.on_hand_entry_id > :start_entry_id)
    FROM page JOIN items ON items.id = page.item_id
    LEFT JOIN counts ON counts.item_id = page.item_id
    LEFT JOIN stock_levels ON stock_levels.item_id = page.item_id AND location_id = :location_id
    ORDER BY items.id
    """  # noqa: S608 - as above
)
_DIFFERING_ITEMS = text(
    f"""
    WITH {_counts("item_id > :after")}
    SELECT items.id, items.sku, items.name, expected, counted, moved
    FROM counts JOIN items ON items.id = item_id
    WHERE counted <> expected OR moved
    ORDER BY item_id LIMIT :limit
    """  # noqa: S608 - as above
)
_UNCOUNTED_ITEMS = text(
    """
    SELECT items.id, items.sku, items.name, on_hand, NULL::bigint, on_hand_entry_id > :start_entry_id
    FROM stock_levels JOIN items ON items.id = item_id AND items.tracking = 'quantity'
    WHERE location_id = :location_id AND item_id > :after AND on_hand > 0 AND NOT EXISTS (
        SELECT FROM stocktake_scans
        WHERE stocktake_id = :stocktake_id AND item_id = items.id AND unit_id IS NULL AND undone_at IS NULL
    )
    ORDER BY item_id LIMIT :limit
    """
)
_ONE_ITEM = text(
    f"""
    WITH {_counts("item_id = :item_id")}
    SELECT items.id, items.sku, items.name, expected, counted, moved FROM counts JOIN items ON items.id = item_id
    """  # noqa: S608 - as above
)
_ITEM_LINES = {"all": _ALL_ITEMS, "differing": _DIFFERING_ITEMS, "uncounted": _UNCOUNTED_ITEMS}
_UNIT_LINES = text(
    """
    WITH scans AS (
        SELECT DISTINCT ON (unit_id) unit_id, quantity, on_hand, entry_id
        FROM stocktake_scans
        WHERE stocktake_id = :stocktake_id AND unit_id > :after AND undone_at IS NULL
        ORDER BY unit_id, id DESC
    ), here AS (
        SELECT id AS unit_id FROM units
        WHERE location_id = :location_id AND id > :after AND loan_id IS NULL AND state IN ('lendable', 'in-repair')
    ), known AS (
        SELECT units.id, units.item_id, units.serial, units.state, units.location_id, units.loan_id, scans.quantity,
            scans.on_hand, scans.entry_id, here.unit_id IS NOT NULL AS is_here
        FROM here FULL JOIN scans USING (unit_id) JOIN units ON units.id = unit_id
        WHERE CASE :only
            WHEN 'differing' THEN (scans.quantity = 1) <> (here.unit_id IS NOT NULL)
            WHEN 'uncounted' THEN scans.quantity IS NULL
            ELSE true
        END
    )
    SELECT known.id, known.serial, items.id, items.sku, items.name, known.state, known.location_id,
        CASE
            WHEN is_here THEN 'here'
            WHEN known.loan_id IS NOT NULL THEN 'on-loan'
            WHEN known.state IN ('lost', 'retired') THEN known.state
            ELSE 'elsewhere'
        END AS now,
        coalesce(known.on_hand, 1), known.quantity, latest.entry_id > coalesce(known.entry_id, :start_entry_id) AS moved
    FROM known JOIN items ON items.id = known.item_id
    CROSS JOIN LATERAL (
        SELECT coalesce(max(id), 0) AS entry_id FROM stock_entries WHERE unit_id = known.id
    ) AS latest
    WHERE NOT (
        :only = 'differing' AND known.quantity = 1 AND known.loan_id IS NOT NULL AND latest.entry_id > known.entry_id
    )
    ORDER BY known.id LIMIT :limit
    """
)
_BY_CODE = text(
    """
    SELECT item_id, id AS unit_id FROM units WHERE barcode = :code
    UNION SELECT item_id, id FROM units WHERE lower(serial) = lower(:code) AND serial = :code
    UNION SELECT id, NULL FROM items WHERE barcode = :code
    UNION SELECT id, NULL FROM items WHERE sku = :code
    LIMIT 2
    """
)
_DUE = text(
    """
    SELECT locations.id AS location_id, name, count_every_days, counted_at, due.at AS due_at,
        stocktakes.id AS stocktake_id
    FROM locations
    CROSS JOIN LATERAL (
        SELECT coalesce(counted_at + make_interval(days => count_every_days), created_at) AS at
    ) AS due
    LEFT JOIN stocktakes ON stocktakes.location_id = locations.id AND stocktakes.status = 'open'
    WHERE count_every_days IS NOT NULL AND archived_at IS NULL AND due.at <= now()
        AND (due.at, locations.id) > (CAST(:after_at AS timestamptz), CAST(:after_id AS bigint))
    ORDER BY due.at, locations.id LIMIT :limit
    """
)

_BOOKED = (StocktakeLine.expected, StocktakeLine.counted, StocktakeLine.finding)
_ALL = 2**62
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ItemLine:
    """What is known and what was counted of an item; `moved` tells that it moved while it was counted.

    Where nothing was counted, it tells that the item moved since the stocktake began.
    """

    item_id: int
    sku: str
    name: str
    expected: int
    counted: int | None
    moved: bool

    @property
    def finding(self) -> Finding:
        if self.counted is None:
            return Finding.UNCOUNTED
        return findings.of_item(CountedItem(self.expected, self.counted, self.moved), MAX_QUANTITY)


@dataclass(frozen=True)
class UnitLine:
    unit_id: int
    serial: str
    item_id: int
    sku: str
    name: str
    state: str
    location_id: int
    now: str
    expected: int
    counted: int | None
    moved: bool

    @property
    def finding(self) -> Finding:
        if self.counted is None:
            return Finding.UNCOUNTED
        return findings.of_unit(CountedUnit(self.counted == 1, self.moved, Whereabouts(self.now)))


async def start(session: AsyncSession, *, location_id: int, note: str, started_by: int) -> Stocktake | None:
    """The new stocktake, or None if one is open there."""
    newest = select(func.coalesce(func.max(StockEntry.id), 0)).scalar_subquery()
    statement = (
        postgresql_insert(Stocktake)
        .values(location_id=location_id, note=note, started_by=started_by, start_entry_id=newest)
        .on_conflict_do_nothing()
        .returning(Stocktake)
    )
    return (await session.scalars(statement)).one_or_none()


async def get(session: AsyncSession, stocktake_id: int) -> Stocktake | None:
    return await session.get(Stocktake, stocktake_id)


async def hold_open(session: AsyncSession, stocktake_id: int) -> Stocktake | None:
    """The stocktake, which stays open, if it is, until the transaction ends; any number may hold it so at once."""
    return await _held(session, stocktake_id, shared=True)


async def lock(session: AsyncSession, stocktake_id: int) -> Stocktake | None:
    """The stocktake, which nobody else changes or adds to until the transaction ends."""
    return await _held(session, stocktake_id, shared=False)


async def before(
    session: AsyncSession, identifier: int | None, limit: int, filters: Mapping[str, Any]
) -> Sequence[Stocktake]:
    """The newest first. `filters` has the wanted values of columns."""
    statement = select(Stocktake).filter_by(**filters).order_by(Stocktake.id.desc()).limit(limit)
    if identifier is not None:
        statement = statement.where(Stocktake.id < identifier)
    return (await session.scalars(statement)).all()


async def end(
    session: AsyncSession, stocktake_id: int, status: StocktakeStatus, ended_by: int, figures: Mapping[str, int]
) -> Stocktake:
    statement = (
        update(Stocktake)
        .where(Stocktake.id == stocktake_id)
        .values(status=status, ended_by=ended_by, ended_at=func.now(), **figures)
        .returning(Stocktake)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    return (await session.scalars(statement)).one()


async def due(session: AsyncSession, after: tuple[datetime, int] | None, limit: int) -> Sequence[Any]:
    """Locations whose count is due, the longest first; one that was never counted is due since it was added."""
    after_at, after_id = after or (_BEGINNING, 0)
    return (await session.execute(_DUE, {"after_at": after_at, "after_id": after_id, "limit": limit})).all()


async def by_code(session: AsyncSession, code: str) -> Sequence[tuple[int, int | None]]:
    """Item and unit of what has this code, as barcode, serial number or SKU; two where it is more than one thing."""
    return [(item_id, unit_id) for item_id, unit_id in await session.execute(_BY_CODE, {"code": code})]


async def add_item_scan(session: AsyncSession, stocktake: Stocktake, **values: Any) -> StocktakeScan:
    """The scan, with what is on hand as of this moment."""
    level = select(StockLevel).where(
        StockLevel.item_id == values["item_id"], StockLevel.location_id == stocktake.location_id
    )
    on_hand = level.with_only_columns(StockLevel.on_hand).scalar_subquery()
    entry_id = level.with_only_columns(StockLevel.on_hand_entry_id).scalar_subquery()
    return await _add_scan(session, stocktake, on_hand=func.coalesce(on_hand, 0), entry_id=entry_id, **values)


async def add_unit_scan(session: AsyncSession, stocktake: Stocktake, **values: Any) -> StocktakeScan:
    """The scan, with whether the unit should be here as of this moment."""
    entry_id = select(func.max(StockEntry.id)).where(StockEntry.unit_id == values["unit_id"]).scalar_subquery()
    return await _add_scan(session, stocktake, entry_id=entry_id, **values)


async def get_scan(session: AsyncSession, stocktake_id: int, scan_id: int) -> StocktakeScan | None:
    return await session.scalar(
        select(StocktakeScan).where(StocktakeScan.stocktake_id == stocktake_id, StocktakeScan.id == scan_id)
    )


async def undo_scan(session: AsyncSession, scan_id: int, undone_by: int) -> None:
    await session.execute(
        update(StocktakeScan)
        .where(StocktakeScan.id == scan_id, StocktakeScan.undone_at.is_(None))
        .values(undone_by=undone_by, undone_at=func.now())
        .execution_options(synchronize_session=False)
    )


async def scans_before(
    session: AsyncSession, stocktake_id: int, identifier: int | None, limit: int
) -> Sequence[StocktakeScan]:
    """The newest first."""
    statement = select(StocktakeScan).where(StocktakeScan.stocktake_id == stocktake_id)
    if identifier is not None:
        statement = statement.where(StocktakeScan.id < identifier)
    return (await session.scalars(statement.order_by(StocktakeScan.id.desc()).limit(limit))).all()


async def item_lines(
    session: AsyncSession, stocktake: Stocktake, only: str, after: int, limit: int
) -> Sequence[ItemLine]:
    """What is or should be of each item, in the order of the items' ids: all of it, or what `only` says."""
    rows = await session.execute(_ITEM_LINES[only], _place(stocktake, after, limit))
    return [ItemLine(*row) for row in rows]


async def item_line(session: AsyncSession, stocktake: Stocktake, item_id: int) -> ItemLine:
    """How one item stands, of which there is a scan."""
    rows = await session.execute(_ONE_ITEM, {"stocktake_id": stocktake.id, "item_id": item_id})
    return ItemLine(*rows.one())


async def unit_lines(
    session: AsyncSession, stocktake: Stocktake, only: str, after: int, limit: int
) -> Sequence[UnitLine]:
    """The same of units, in the order of their ids."""
    rows = await session.execute(_UNIT_LINES, {**_place(stocktake, after, limit), "only": only})
    return [UnitLine(*row) for row in rows]


async def add_lines(session: AsyncSession, lines: Sequence[Mapping[str, Any]]) -> None:
    await session.execute(insert(StocktakeLine), lines)


async def booked_item_lines(
    session: AsyncSession, stocktake_id: int, only: str, after: int, limit: int
) -> Sequence[Any]:
    """What was booked of items that are counted by quantity, in the order of their ids."""
    statement = (
        select(StocktakeLine.item_id, Item.sku, Item.name, *_BOOKED)
        .join(Item, Item.id == StocktakeLine.item_id)
        .where(StocktakeLine.unit_id.is_(None), StocktakeLine.item_id > after)
        .order_by(StocktakeLine.item_id)
    )
    return await _booked(session, statement, stocktake_id, only, limit)


async def booked_unit_lines(
    session: AsyncSession, stocktake_id: int, only: str, after: int, limit: int
) -> Sequence[Any]:
    """The same of units."""
    statement = (
        select(StocktakeLine.unit_id, Unit.serial, StocktakeLine.item_id, Item.sku, Item.name, *_BOOKED)
        .join(Item, Item.id == StocktakeLine.item_id)
        .join(Unit, Unit.id == StocktakeLine.unit_id)
        .where(StocktakeLine.unit_id > after)
        .order_by(StocktakeLine.unit_id)
    )
    return await _booked(session, statement, stocktake_id, only, limit)


async def count_uncounted(session: AsyncSession, stocktake: Stocktake) -> int:
    """How many items and units are expected and were not counted."""
    place = {**_place(stocktake, 0, _ALL), "only": "uncounted"}
    count = 0
    for lines in (_UNCOUNTED_ITEMS, _UNIT_LINES):
        count += await session.scalar(select(func.count()).select_from(lines.columns().subquery()), place) or 0
    return count


async def _held(session: AsyncSession, stocktake_id: int, *, shared: bool) -> Stocktake | None:
    statement = select(Stocktake).where(Stocktake.id == stocktake_id).with_for_update(read=shared, key_share=shared)
    return (await session.scalars(statement.execution_options(populate_existing=True))).one_or_none()


async def _add_scan(session: AsyncSession, stocktake: Stocktake, **values: Any) -> StocktakeScan:
    values["entry_id"] = func.coalesce(values["entry_id"], 0)
    statement = insert(StocktakeScan).values(stocktake_id=stocktake.id, **values).returning(StocktakeScan)
    return (await session.scalars(statement)).one()


async def _booked(
    session: AsyncSession, statement: Select[*tuple[Any, ...]], stocktake_id: int, only: str, limit: int
) -> Sequence[Any]:
    counted = {"differing": StocktakeLine.counted.is_not(None), "uncounted": StocktakeLine.counted.is_(None)}
    statement = statement.where(StocktakeLine.stocktake_id == stocktake_id, counted.get(only, true()))
    return (await session.execute(statement.limit(limit))).all()


def _place(stocktake: Stocktake, after: int, limit: int) -> dict[str, Any]:
    return {
        "stocktake_id": stocktake.id,
        "location_id": stocktake.location_id,
        "start_entry_id": stocktake.start_entry_id,
        "after": after,
        "limit": limit,
    }
