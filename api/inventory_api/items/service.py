from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.cache import touch
from inventory_api.categories.models import Category
from inventory_api.concurrency import demand_version
from inventory_api.database import broken_constraint, table_that_refers
from inventory_api.items import repository, search
from inventory_api.items.models import Item, Tracking
from inventory_api.items.repository import LockedItem
from inventory_api.items.schemas import ItemChange, ItemCreate, ItemQuery, Parts
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind
from inventory_api.ledger.repository import Entry
from inventory_api.locations import service as locations
from inventory_api.locations.models import Location
from inventory_api.problems import Problem, conflict, not_found
from inventory_api.reads import ReadRow, Reads
from inventory_api.trees import repository as trees
from inventory_api.trees import service as trees_service
from inventory_api.users.permissions import Permission, Principal, demand

_KIND = "item"
AnyItem = TypeVar("AnyItem", Item, LockedItem)
_AUDITED = (
    *("name", "sku", "category_id", "tracking", "description", "barcode", "attributes", "minimum_stock"),
    *("photo_links", "unit_value_cents", "archived_at"),
)


async def create(session: AsyncSession, caller: Principal, wanted: ItemCreate) -> Item:
    """Raises a 409 Problem where its SKU or barcode is taken."""
    demand(caller, Permission.EDIT_CATALOGUE)
    await _demand_category(session, wanted.category_id)
    try:
        item = await repository.add(session, **wanted.model_dump(exclude={"quantity", "location_id"}))
    except IntegrityError as error:
        raise _taken(error) from error
    await audit.record(session, caller, "create", _KIND, item.id, None, _fields(item))
    touch(session, "catalogue")
    if wanted.quantity:
        place = await locations.open_id(session, wanted.location_id)
        entry = Entry(item.id, place, EntryKind.RECEIVE, on_hand=wanted.quantity, actor_id=caller.id)
        await ledger.enter(session, [entry])
        await session.refresh(item)
    return item


async def change(
    session: AsyncSession, caller: Principal, item_id: int, wanted: ItemChange, if_match: str | None
) -> Item:
    """Changes what is given; what is so already changes nothing."""
    demand(caller, Permission.EDIT_CATALOGUE)
    values = wanted.model_dump(exclude_unset=True)
    item = await _locked(session, item_id)
    demand_version(if_match, item.version)
    if item.tracking == Tracking.KIT and wanted.minimum_stock:
        raise _refused(
            "no-stock", f"The item {item.sku} is a kit: it has no stock of its own, and so no minimum of it."
        )
    await _demand_category(session, values.get("category_id"))
    return await _changed(session, caller, item, "change", values)


async def set_parts(
    session: AsyncSession, caller: Principal, item_id: int, wanted: Parts, if_match: str | None
) -> Item:
    """Makes a kit of these parts and of nothing else.

    Raises a 404 Problem where a part is not there, and a 409 Problem where it is archived or a kit itself, or while the
    kit is on loan: its parts come back with it.
    """
    demand(caller, Permission.EDIT_CATALOGUE)
    kit = await _locked(session, item_id)
    demand_version(if_match, kit.version)
    if kit.tracking != Tracking.KIT:
        raise _other_tracking(kit, Tracking.KIT)
    before = await _parts(session, item_id)
    quantities = {part.item_id: part.quantity for part in wanted.parts}
    if before == quantities:
        return kit
    if any(await repository.claims(session, item_id)):
        raise conflict("on-loan", f"The kit {kit.sku} is on loan or reserved.")
    known = await repository.lock(session, quantities)
    for part_id in quantities:
        if part_id not in known:
            raise not_found(f"item {part_id}")
        demand_in_use(known[part_id])
        if known[part_id].tracking == Tracking.KIT:
            raise conflict("kit-in-kit", f"The item {known[part_id].sku} is a kit: it can't be a part of another.")
    await repository.set_parts(session, item_id, quantities)
    changed = await repository.change(session, item_id, {})
    await audit.record(session, caller, "change", _KIND, item_id, {"parts": before}, {"parts": quantities})
    touch(session, "catalogue")
    return changed


async def archive(session: AsyncSession, caller: Principal, item_id: int) -> Item:
    """Takes an item out of use, with all its history. One that is archived stays as it is.

    Raises a 409 Problem while it is on loan or reserved.
    """
    demand(caller, Permission.EDIT_CATALOGUE)
    item = await _locked(session, item_id)
    if item.archived_at is not None:
        return item
    loans, reservations = await repository.claims(session, item_id)
    if loans or reservations:
        raise conflict(
            "still-used", f"The item {item.sku} has {loans} open loans and {reservations} open reservations."
        )
    return await _changed(session, caller, item, "archive", {"archived_at": datetime.now(UTC)})


async def unarchive(session: AsyncSession, caller: Principal, item_id: int) -> Item:
    demand(caller, Permission.EDIT_CATALOGUE)
    return await _changed(session, caller, await _locked(session, item_id), "unarchive", {"archived_at": None})


async def remove(session: AsyncSession, caller: Principal, item_id: int) -> None:
    """Raises a 409 Problem where anything hangs on it, as history does."""
    demand(caller, Permission.EDIT_CATALOGUE)
    item = await _locked(session, item_id)
    try:
        await repository.remove(session, item_id)
    except IntegrityError as error:
        raise trees_service.still_used(_KIND, table_that_refers(error)) from error
    await audit.record(session, caller, "delete", _KIND, item_id, _fields(item), None)
    touch(session, "catalogue")


async def page(reads: Reads, query: ItemQuery) -> search.Found:
    """Some pages have fewer items than they have room for, and yet are not the last."""
    categories = await trees.branch(reads, Category, query.category_id) if query.category_id else None
    places = await trees.branch(reads, Location, query.location_id) if query.location_id else None
    return await search.page(reads, query, categories, places)


async def get(session: AsyncSession, item_id: int) -> Item:
    return _existing(await repository.get(session, item_id))


async def get_whole(reads: Reads, item_id: int) -> ReadRow:
    """The item's columns, its stock by location, and the parts of a kit."""
    found = await repository.get_whole(reads, item_id)
    if found is None:
        raise not_found(_KIND)
    return found


async def locked(session: AsyncSession, item_id: int, tracking: Tracking | None = None) -> LockedItem:
    """The item, which nobody else moves, lends or changes until the transaction ends.

    Raises a 404 Problem where there is none, and a 409 Problem where it is archived or tracked in another way.
    """
    item = _existing(await repository.lock_one(session, item_id))
    demand_in_use(item)
    if tracking is not None and item.tracking != tracking:
        raise _other_tracking(item, tracking)
    return item


def demand_in_use(item: Item | LockedItem) -> None:
    """Raises a 409 Problem where the item is archived."""
    if item.archived_at is not None:
        raise conflict("archived", f"The item {item.sku} is archived.")


async def _locked(session: AsyncSession, item_id: int) -> Item:
    return _existing((await repository.lock(session, [item_id])).get(item_id))


async def _changed(session: AsyncSession, caller: Principal, item: Item, action: str, values: dict[str, Any]) -> Item:
    before = _fields(item)
    if before == {**before, **values}:
        return item
    try:
        changed = await repository.change(session, item.id, values)
    except IntegrityError as error:
        raise _taken(error) from error
    await audit.record(session, caller, action, _KIND, item.id, before, _fields(changed))
    touch(session, "catalogue")
    return changed


async def _demand_category(session: AsyncSession, category_id: int | None) -> None:
    if category_id is not None and await trees.keep(session, Category, category_id) is None:
        raise not_found("category")


async def _parts(session: AsyncSession, kit_id: int) -> dict[int, int]:
    return {part.item_id: part.quantity for part in await repository.parts(session, kit_id)}


def _fields(item: Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in _AUDITED}


def _existing(item: AnyItem | None) -> AnyItem:
    if item is None:
        raise not_found(_KIND)
    return item


def _other_tracking(item: Item | LockedItem, tracking: Tracking) -> Problem:
    return conflict("other-tracking", f"The item {item.sku} is tracked by {item.tracking}, not by {tracking}.")


def _refused(kind: str, detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, kind, detail)


def _taken(error: IntegrityError) -> Problem:
    if broken_constraint(error) == "items_barcode_key":
        return conflict("barcode-taken", "There is an item with this barcode already.")
    return conflict("sku-taken", "There is an item with this SKU already.")
