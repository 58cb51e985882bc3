from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.categories import repository as categories
from inventory_api.items import repository
from inventory_api.items.models import Item
from inventory_api.items.schemas import ItemCreate, ItemQuery
from inventory_api.problems import conflict, not_found
from inventory_api.users.permissions import Permission, Principal, demand


async def create(session: AsyncSession, caller: Principal, wanted: ItemCreate) -> Item:
    demand(caller, Permission.EDIT_CATALOGUE)
    if wanted.category_id is not None and await categories.get(session, wanted.category_id) is None:
        raise not_found("category")
    item = await repository.add(
        session, name=wanted.name, sku=wanted.sku, quantity=wanted.quantity, category_id=wanted.category_id
    )
    if item is None:
        raise conflict("sku-taken", "There is an item with this SKU already.")
    return item


async def page(session: AsyncSession, query: ItemQuery) -> Sequence[Item]:
    return await repository.after(session, query.after, query.limit + 1, query.category_id)


async def get(session: AsyncSession, item_id: int) -> Item:
    item = await repository.get(session, item_id)
    if item is None:
        raise not_found("item")
    return item
