from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from inventory_api.items.models import Item, KitPart
from inventory_api.ledger.models import StockLevel
from inventory_api.reads import ReadRow, Reads, Statement, rows_within

# Loans and reservations are domains above this one, so their tables are named by hand.
_CLAIMS = text(
    """
    SELECT
        (SELECT count(*) FROM loans WHERE item_id = :item_id AND returned_at IS NULL) AS loans,
        (SELECT count(*) FROM reservations WHERE item_id = :item_id AND status IN ('booked', 'waiting', 'ready'))
            AS reservations
    """
)


@dataclass(frozen=True, slots=True)
class LockedItem:
    """What decides about an item's stock; nobody else changes it until the transaction ends."""

    id: int
    sku: str
    tracking: str
    quantity: int
    archived_at: datetime | None


def _object(**fields: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """The names stand in the statement: as parameters, they would be sent with each use of it."""
    pairs: Iterable[tuple[Any, Any]] = ((literal_column(f"'{name}'"), value) for name, value in fields.items())
    return func.json_build_object(*(each for pair in pairs for each in pair))


def _whole() -> Select[*tuple[Any, ...]]:
    level = _object(
        location_id=StockLevel.location_id,
        on_hand=StockLevel.on_hand,
        on_loan=StockLevel.on_loan,
        reserved=StockLevel.reserved,
        available=StockLevel.on_hand - StockLevel.reserved,
    )
    levels = select(func.json_agg(level, type_=JSON).aggregate_order_by(StockLevel.location_id))
    part = _object(item_id=KitPart.item_id, quantity=KitPart.quantity)
    parts = select(func.json_agg(part, type_=JSON).aggregate_order_by(KitPart.item_id))
    there = StockLevel.on_hand + StockLevel.on_loan > 0
    return select(
        Item,
        (Item.quantity - Item.on_loan - Item.reserved).label("available"),
        levels.where(StockLevel.item_id == Item.id, there).scalar_subquery().label("stock"),
        parts.where(KitPart.kit_id == Item.id).scalar_subquery().label("parts"),
    ).where(Item.id == bindparam("item_id"))


# Made once: nothing is read as often as one item.
_WHOLE = Statement(_whole())
_LOCK = Statement(
    select(*(getattr(Item, field.name) for field in fields(LockedItem)))
    .where(Item.id == bindparam("item_id"))
    .with_for_update(key_share=True)
)


async def get(session: AsyncSession, item_id: int) -> Item | None:
    return await session.get(Item, item_id)


async def get_whole(reads: Reads, item_id: int) -> ReadRow | None:
    """The columns of the item, its `stock` in the order of the locations' ids, and the `parts` of a kit."""
    return await reads.row(_WHOLE, item_id=item_id)


async def add(session: AsyncSession, **values: Any) -> Item:
    """The new item, of which nothing is there yet. Raises IntegrityError if the SKU or the barcode is taken."""
    return (await session.scalars(insert(Item).values(quantity=0, **values).returning(Item))).one()


async def change(session: AsyncSession, item_id: int, values: Mapping[str, Any]) -> Item:
    """The item after the change. Raises IntegrityError if the SKU or the barcode is taken."""
    statement = (
        update(Item)
        .where(Item.id == item_id)
        .values(**values, version=Item.version + 1, updated_at=func.now())
        .returning(Item)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    return (await session.scalars(statement)).one()


async def remove(session: AsyncSession, item_id: int) -> None:
    """Takes a kit apart and removes the item. Raises IntegrityError if anything hangs on it."""
    for statement in (delete(KitPart).where(KitPart.kit_id == item_id), delete(Item).where(Item.id == item_id)):
        await session.execute(statement.execution_options(synchronize_session=False))


async def lock(session: AsyncSession, item_ids: Iterable[int]) -> dict[int, Item]:
    """The items there are, by id, which nobody else changes until the transaction ends.

    In the order of their ids: whoever takes several waits for nobody who waits for them.
    """
    statement = (
        select(Item)
        .where(Item.id.in_(sorted(set(item_ids))))
        .order_by(Item.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return {item.id: item for item in await session.scalars(statement)}


async def lock_one(session: AsyncSession, item_id: int) -> LockedItem | None:
    """The same for one, of which only that is read which decides about its stock."""
    found = await rows_within(session, _LOCK, item_id=item_id)
    return LockedItem(**found[0]) if found else None


async def claims(session: AsyncSession, item_id: int) -> tuple[int, int]:
    """How many loans of an item, or of a kit, are open, and how many reservations."""
    loans, reservations = (await session.execute(_CLAIMS, {"item_id": item_id})).one()
    return loans, reservations


async def parts(session: AsyncSession, kit_id: int) -> Sequence[KitPart]:
    """What belongs into a kit, in the order of the items' ids."""
    return (await session.scalars(select(KitPart).where(KitPart.kit_id == kit_id).order_by(KitPart.item_id))).all()


async def set_parts(session: AsyncSession, kit_id: int, quantities: Mapping[int, int]) -> None:
    """Makes a kit of so many of each item, and of nothing else."""
    await session.execute(delete(KitPart).where(KitPart.kit_id == kit_id).execution_options(synchronize_session=False))
    rows = [{"kit_id": kit_id, "item_id": item_id, "quantity": quantity} for item_id, quantity in quantities.items()]
    if rows:
        await session.execute(insert(KitPart), rows)
