from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.categories.models import Category


async def get(session: AsyncSession, category_id: int) -> Category | None:
    return await session.get(Category, category_id)


async def after(session: AsyncSession, identifier: int, limit: int) -> Sequence[Category]:
    statement = select(Category).where(Category.id > identifier).order_by(Category.id).limit(limit)
    return (await session.scalars(statement)).all()


async def add(session: AsyncSession, name: str) -> Category | None:
    """The new category, or None if the name is taken."""
    statement = insert(Category).values(name=name).on_conflict_do_nothing().returning(Category)
    return (await session.scalars(statement)).one_or_none()
