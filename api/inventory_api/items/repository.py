from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.items.models import Item, KitPart, Tracking


async def get(session: AsyncSession, item_id: int) -> Item | None:
    return await session.get(Item, item_id)


async def after(session: AsyncSession, identifier: int, limit: int, category_id: int | None) -> Sequence[Item]:
    statement = select(Item).where(Item.id > identifier).order_by(Item.id).limit(limit)
    if category_id is not None:
        statement = statement.where(Item.category_id == category_id)
    return (await session.scalars(statement)).all()


async def add(
    session: AsyncSession, *, name: str, sku: str, category_id: int | None, tracking: Tracking
) -> Item | None:
    """The new item, of which nothing is there yet, or None if the SKU is taken."""
    statement = (
        insert(Item)
        .values(name=name, sku=sku, quantity=0, category_id=category_id, tracking=tracking)
        .on_conflict_do_nothing(index_elements=[Item.sku])
        .returning(Item)
    )
    return (await session.scalars(statement)).one_or_none()


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


async def parts(session: AsyncSession, kit_id: int) -> Sequence[KitPart]:
    """What belongs into a kit, in the order of the items' ids."""
    return (await session.scalars(select(KitPart).where(KitPart.kit_id == kit_id).order_by(KitPart.item_id))).all()
