from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.categories import repository as categories
from inventory_api.items import repository
from inventory_api.items.models import Item, Tracking
from inventory_api.items.schemas import ItemCreate, ItemQuery
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind
from inventory_api.ledger.repository import Entry
from inventory_api.locations import repository as locations
from inventory_api.problems import conflict, not_found
from inventory_api.users.permissions import Permission, Principal, demand


async def create(session: AsyncSession, caller: Principal, wanted: ItemCreate) -> Item:
    demand(caller, Permission.EDIT_CATALOGUE)
    if wanted.category_id is not None and await categories.get(session, wanted.category_id) is None:
        raise not_found("category")
    item = await repository.add(
        session, name=wanted.name, sku=wanted.sku, category_id=wanted.category_id, tracking=wanted.tracking
    )
    if item is None:
        raise conflict("sku-taken", "There is an item with this SKU already.")
    if wanted.quantity and wanted.tracking is Tracking.QUANTITY:
        place = await locations.main_id(session)
        entry = Entry(item.id, place, EntryKind.RECEIVE, on_hand=wanted.quantity, actor_id=caller.id)
        await ledger.enter(session, [entry])
        await session.refresh(item)
    return item


async def page(session: AsyncSession, query: ItemQuery) -> Sequence[Item]:
    return await repository.after(session, query.after, query.limit + 1, query.category_id)


async def get(session: AsyncSession, item_id: int) -> Item:
    item = await repository.get(session, item_id)
    if item is None:
        raise not_found("item")
    return item


async def locked(session: AsyncSession, item_id: int, tracking: Tracking | None = None) -> Item:
    """The item, which nobody else moves, lends or changes until the transaction ends.

    Raises a 404 Problem where there is none, and a 409 Problem where it is archived or tracked in another way.
    """
    item = (await repository.lock(session, [item_id])).get(item_id)
    if item is None:
        raise not_found("item")
    demand_in_use(item)
    if tracking is not None and item.tracking != tracking:
        raise conflict("other-tracking", f"The item {item.sku} is tracked by {item.tracking}, not by {tracking}.")
    return item


def demand_in_use(item: Item) -> None:
    """Raises a 409 Problem where the item is archived."""
    if item.archived_at is not None:
        raise conflict("archived", f"The item {item.sku} is archived.")
