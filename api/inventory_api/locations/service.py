from http import HTTPStatus

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.locations import repository
from inventory_api.problems import Problem, not_found


async def open_id(session: AsyncSession, location_id: int | None) -> int:
    """The location that things may be put to; the first one where none is given.

    Raises a 404 Problem where there is none with this id, and a 409 Problem where it is archived.
    """
    if location_id is None:
        return await repository.main_id(session)
    location = await repository.get(session, location_id)
    if location is None:
        raise not_found("location")
    if location.archived_at is not None:
        raise Problem(HTTPStatus.CONFLICT, "archived", f"The location {location.name} is archived.")
    return location.id
