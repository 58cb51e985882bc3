from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.locations.models import Location
from inventory_api.trees.repository import NO_PARENT


async def get(session: AsyncSession, location_id: int) -> Location | None:
    return await session.get(Location, location_id)


async def main_id(session: AsyncSession) -> int:
    """Where things are that nobody has given another place: the first location, which the schema brings."""
    found = await session.scalar(select(func.min(Location.id)))
    assert isinstance(found, int)  # noqa: S101 - the first location is never removed
    return found


async def after(
    session: AsyncSession, identifier: int, limit: int, parent_id: int | None, *, archived: bool
) -> Sequence[Location]:
    """In the order of their ids: all, or those right below a parent, or with NO_PARENT the roots."""
    in_use = Location.archived_at.is_(None)
    statement = select(Location).where(Location.id > identifier, ~in_use if archived else in_use)
    if parent_id is not None:
        statement = statement.where(func.coalesce(Location.parent_id, NO_PARENT) == parent_id)
    return (await session.scalars(statement.order_by(Location.id).limit(limit))).all()


async def has_any_below(session: AsyncSession, location_id: int) -> bool:
    """Whether a location that is in use is right below it."""
    below = select(Location.id).where(Location.parent_id == location_id, Location.archived_at.is_(None)).limit(1)
    return await session.scalar(below) is not None


async def add(session: AsyncSession, **values: Any) -> Location:
    """Raises IntegrityError if the name or the barcode is taken."""
    return (await session.scalars(insert(Location).values(**values).returning(Location))).one()


async def change(session: AsyncSession, location_id: int, values: Mapping[str, Any]) -> Location:
    """The location after the change. Raises IntegrityError if the name or the barcode is taken."""
    statement = (
        update(Location)
        .where(Location.id == location_id)
        .values(**values, version=Location.version + 1, updated_at=func.now())
        .returning(Location)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    return (await session.scalars(statement)).one()


async def remove(session: AsyncSession, location_id: int) -> None:
    """Raises IntegrityError if anything hangs on it."""
    await session.execute(
        delete(Location).where(Location.id == location_id).execution_options(synchronize_session=False)
    )


async def counted(session: AsyncSession, location_id: int) -> None:
    """Notes that all that is there has been counted now."""
    await session.execute(
        update(Location)
        .where(Location.id == location_id)
        .values(counted_at=func.now())
        .execution_options(synchronize_session=False)
    )
