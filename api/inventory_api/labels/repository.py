from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ARRAY, BigInteger, ColumnElement, any_, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from inventory_api.items.models import Item
from inventory_api.locations.models import Location
from inventory_api.units.models import Unit


@dataclass(frozen=True)
class Named:
    """What a label says of a thing."""

    name: str
    barcode: str | None
    details: tuple[str, ...] = ()


async def items(session: AsyncSession, ids: Collection[int]) -> dict[int, Named]:
    rows = await session.execute(select(Item.id, Item.name, Item.barcode, Item.sku).where(_among(Item.id, ids)))
    return {row.id: Named(row.name, row.barcode, (row.sku,)) for row in rows}


async def units(session: AsyncSession, ids: Collection[int]) -> dict[int, Named]:
    statement = (
        select(Unit.id, Item.name, Unit.barcode, Item.sku, Unit.serial)
        .join(Item, Item.id == Unit.item_id)
        .where(_among(Unit.id, ids))
    )
    rows = await session.execute(statement)
    return {row.id: Named(row.name, row.barcode, (row.serial, row.sku)) for row in rows}


async def locations(session: AsyncSession, ids: Collection[int]) -> dict[int, Named]:
    statement = select(Location.id, Location.name, Location.barcode).where(_among(Location.id, ids))
    return {row.id: Named(row.name, row.barcode) for row in await session.execute(statement)}


def _among(column: InstrumentedAttribute[int], ids: Collection[int]) -> ColumnElement[bool]:
    return column == any_(literal(list(ids), ARRAY(BigInteger)))
