from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.categories import repository
from inventory_api.categories.models import Category
from inventory_api.categories.schemas import CategoryCreate
from inventory_api.pages import PageQuery
from inventory_api.problems import conflict, not_found
from inventory_api.users.permissions import Permission, Principal, demand


async def create(session: AsyncSession, caller: Principal, wanted: CategoryCreate) -> Category:
    demand(caller, Permission.EDIT_CATALOGUE)
    category = await repository.add(session, wanted.name)
    if category is None:
        raise conflict("name-taken", "There is a category with this name already.")
    return category


async def page(session: AsyncSession, query: PageQuery) -> Sequence[Category]:
    return await repository.after(session, query.after, query.limit + 1)


async def get(session: AsyncSession, category_id: int) -> Category:
    category = await repository.get(session, category_id)
    if category is None:
        raise not_found("category")
    return category
