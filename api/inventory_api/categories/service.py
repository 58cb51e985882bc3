from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.cache import touch
from inventory_api.categories import repository
from inventory_api.categories.models import Category
from inventory_api.categories.schemas import CategoryChange, CategoryCreate, CategoryQuery
from inventory_api.concurrency import demand_version
from inventory_api.database import table_that_refers
from inventory_api.problems import conflict, not_found
from inventory_api.trees import repository as trees
from inventory_api.trees import service as trees_service
from inventory_api.users.permissions import Permission, Principal, demand

_KIND = "category"


async def create(session: AsyncSession, caller: Principal, wanted: CategoryCreate) -> Category:
    demand(caller, Permission.EDIT_CATALOGUE)
    if wanted.parent_id is not None:
        await trees.hold(session, Category)
    await trees_service.place_below(session, Category, _KIND, wanted.parent_id, None)
    try:
        category = await repository.add(session, **wanted.model_dump())
    except IntegrityError as error:
        raise _taken() from error
    await audit.record(session, caller, "create", _KIND, category.id, None, _fields(category))
    touch(session, "catalogue")
    return category


async def change(
    session: AsyncSession, caller: Principal, category_id: int, wanted: CategoryChange, if_match: str | None
) -> Category:
    """Renames it, or moves it with all that is below it; what is so already changes nothing.

    Raises a 409 Problem where it would be below itself.
    """
    demand(caller, Permission.EDIT_CATALOGUE)
    values = wanted.model_dump(exclude_unset=True)
    if "parent_id" in values:
        await trees.hold(session, Category)
    category = _existing(await trees.lock(session, Category, category_id))
    demand_version(if_match, category.version)
    before = _fields(category)
    if before == {**before, **values}:
        return category
    if "parent_id" in values:
        await trees_service.place_below(session, Category, _KIND, values["parent_id"], category_id)
    try:
        changed = await repository.change(session, category_id, values)
    except IntegrityError as error:
        raise _taken() from error
    await audit.record(session, caller, "change", _KIND, category_id, before, _fields(changed))
    touch(session, "catalogue")
    return changed


async def remove(session: AsyncSession, caller: Principal, category_id: int) -> None:
    """Raises a 409 Problem where anything hangs on it."""
    demand(caller, Permission.EDIT_CATALOGUE)
    category = _existing(await trees.lock(session, Category, category_id))
    try:
        await repository.remove(session, category_id)
    except IntegrityError as error:
        raise trees_service.still_used(_KIND, table_that_refers(error)) from error
    await audit.record(session, caller, "delete", _KIND, category_id, _fields(category), None)
    touch(session, "catalogue")


async def page(session: AsyncSession, query: CategoryQuery) -> Sequence[Category]:
    return await repository.after(session, query.after, query.limit + 1, query.parent_id)


async def get(session: AsyncSession, category_id: int) -> Category:
    return _existing(await repository.get(session, category_id))


async def path(session: AsyncSession, category_id: int) -> Sequence[Any]:
    """Id and name of each category from the root down to this one."""
    return await trees.path(session, Category, category_id)


def _existing(category: Category | None) -> Category:
    if category is None:
        raise not_found(_KIND)
    return category


def _fields(category: Category) -> dict[str, Any]:
    return {"name": category.name, "parent_id": category.parent_id}


def _taken() -> Exception:
    return conflict("name-taken", "There is a category with this name there already.")
