from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.locations.models import Location


async def get(session: AsyncSession, location_id: int) -> Location | None:
    return await session.get(Location, location_id)


async def main_id(session: AsyncSession) -> int:
    """Where things are that nobody has given another place: the first location, which the schema brings."""
    found = await session.scalar(select(func.min(Location.id)))
    assert isinstance(found, int)  # noqa: S101 - the first location is never removed
    return found
