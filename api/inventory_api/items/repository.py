from collections.abc import Iterable, Sequence

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.items.models import Item


async def get(session: AsyncSession, item_id: int) -> Item | None:
    return await session.get(Item, item_id)


async def after(session: AsyncSession, identifier: int, limit: int, category_id: int | None) -> Sequence[Item]:
    statement = select(Item).where(Item.id > identifier).order_by(Item.id).limit(limit)
    if category_id is not None:
        statement = statement.where(Item.category_id == category_id)
    return (await session.scalars(statement)).all()


async def add(session: AsyncSession, *, name: str, sku: str, quantity: int, category_id: int | None) -> Item | None:
    """The new item, or None if the SKU is taken."""
    statement = (
        insert(Item)
        .values(name=name, sku=sku, quantity=quantity, category_id=category_id)
        .on_conflict_do_nothing(index_elements=[Item.sku])
        .returning(Item)
    )
    return (await session.scalars(statement)).one_or_none()


async def take(session: AsyncSession, item_id: int, quantity: int) -> bool:
    """Takes so many from the shelf if so many are there; the row's lock puts concurrent callers in line."""
    statement = (
        update(Item)
        .where(Item.id == item_id, Item.quantity - Item.on_loan >= quantity)
        .values(on_loan=Item.on_loan + quantity)
        .returning(Item.id)
    )
    return await session.scalar(statement) is not None


async def put_back(session: AsyncSession, item_id: int, quantity: int) -> None:
    await session.execute(update(Item).where(Item.id == item_id).values(on_loan=Item.on_loan - quantity))


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
