from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.categories.models import Category
from inventory_api.trees.repository import NO_PARENT


async def get(session: AsyncSession, category_id: int) -> Category | None:
    return await session.get(Category, category_id)


async def after(session: AsyncSession, identifier: int, limit: int, parent_id: int | None) -> Sequence[Category]:
    """In the order of their ids: all, or those right below a parent, or with NO_PARENT the roots."""
    statement = select(Category).where(Category.id > identifier).order_by(Category.id).limit(limit)
    if parent_id is not None:
        statement = statement.where(func.coalesce(Category.parent_id, NO_PARENT) == parent_id)
    return (await session.scalars(statement)).all()


async def add(session: AsyncSession, **values: Any) -> Category:
    """Raises IntegrityError if the name is taken."""
    return (await session.scalars(insert(Category).values(**values).returning(Category))).one()


async def change(session: AsyncSession, category_id: int, values: Mapping[str, Any]) -> Category:
    """The category after the change. Raises IntegrityError if the name is taken."""
    statement = (
        update(Category)
        .where(Category.id == category_id)
        .values(**values, version=Category.version + 1, updated_at=func.now())
        .returning(Category)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    return (await session.scalars(statement)).one()


async def remove(session: AsyncSession, category_id: int) -> None:
    """Raises IntegrityError if anything hangs on it."""
    await session.execute(
        delete(Category).where(Category.id == category_id).execution_options(synchronize_session=False)
    )
