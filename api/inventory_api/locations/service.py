from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.cache import touch
from inventory_api.concurrency import demand_version
from inventory_api.database import broken_constraint, table_that_refers
from inventory_api.ledger import repository as ledger
from inventory_api.locations import repository
from inventory_api.locations.models import Location
from inventory_api.locations.schemas import LocationChange, LocationCreate, LocationQuery
from inventory_api.problems import Problem, conflict, not_found
from inventory_api.trees import repository as trees
from inventory_api.trees import service as trees_service
from inventory_api.users.permissions import Permission, Principal, demand

_KIND = "location"


async def open_id(session: AsyncSession, location_id: int | None) -> int:
    """The location that things may be put to; the first one where none is given. Nobody archives it meanwhile.

    Raises a 404 Problem where there is none with this id, and a 409 Problem where it is archived.
    """
    if location_id is None:
        return await repository.main_id(session)
    location = await trees.keep(session, Location, location_id)
    if location is None:
        raise not_found(_KIND)
    _demand_in_use(location)
    return location_id


async def create(session: AsyncSession, caller: Principal, wanted: LocationCreate) -> Location:
    demand(caller, Permission.EDIT_CATALOGUE)
    if wanted.parent_id is not None:
        await trees.hold(session, Location)
    await _place_below(session, wanted.parent_id, None)
    try:
        location = await repository.add(session, **wanted.model_dump())
    except IntegrityError as error:
        raise _taken(error) from error
    await audit.record(session, caller, "create", _KIND, location.id, None, _fields(location))
    touch(session, "catalogue")
    return location


async def change(
    session: AsyncSession, caller: Principal, location_id: int, wanted: LocationChange, if_match: str | None
) -> Location:
    """Changes what is given; another parent moves it with all that is below it. What is so already changes nothing.

    Raises a 409 Problem where it would be below itself.
    """
    demand(caller, Permission.EDIT_CATALOGUE)
    values = wanted.model_dump(exclude_unset=True)
    if "parent_id" in values:
        await trees.hold(session, Location)
    location = _existing(await trees.lock(session, Location, location_id))
    demand_version(if_match, location.version)
    if "parent_id" in values and values["parent_id"] != location.parent_id:
        await _place_below(session, values["parent_id"], location_id)
    return await _changed(session, caller, location, "change", values)


async def archive(session: AsyncSession, caller: Principal, location_id: int) -> Location:
    """Takes an empty location out of use. One that is archived stays as it is.

    Raises a 409 Problem where anything is there or lent from there, or a location in use is below it.
    """
    demand(caller, Permission.EDIT_CATALOGUE)
    await trees.hold(session, Location)
    location = _existing(await trees.lock_alone(session, Location, location_id))
    if location.archived_at is not None:
        return location
    await _demand_not_main(session, location_id)
    if await repository.has_any_below(session, location_id):
        raise conflict("still-used", f"The location {location.name} has locations below it: archive them first.")
    if await ledger.levels_at(session, location_id, 0, 1):
        raise conflict(
            "still-used", f"The location {location.name} isn't empty: move what is there, and await what is lent."
        )
    return await _changed(session, caller, location, "archive", {"archived_at": datetime.now(UTC)})


async def unarchive(session: AsyncSession, caller: Principal, location_id: int) -> Location:
    """Takes it back into use. Raises a 409 Problem where the location above it is archived."""
    demand(caller, Permission.EDIT_CATALOGUE)
    await trees.hold(session, Location)
    location = _existing(await trees.lock(session, Location, location_id))
    if location.archived_at is None:
        return location
    if location.parent_id is not None:
        _demand_in_use(await trees.keep(session, Location, location.parent_id))
    return await _changed(session, caller, location, "unarchive", {"archived_at": None})


async def remove(session: AsyncSession, caller: Principal, location_id: int) -> None:
    """Raises a 409 Problem where anything hangs on it."""
    demand(caller, Permission.EDIT_CATALOGUE)
    location = _existing(await trees.lock(session, Location, location_id))
    await _demand_not_main(session, location_id)
    try:
        await repository.remove(session, location_id)
    except IntegrityError as error:
        raise trees_service.still_used(_KIND, table_that_refers(error)) from error
    await audit.record(session, caller, "delete", _KIND, location_id, _fields(location), None)
    touch(session, "catalogue")


async def page(session: AsyncSession, query: LocationQuery) -> Sequence[Location]:
    return await repository.after(session, query.after, query.limit + 1, query.parent_id, archived=query.archived)


async def get(session: AsyncSession, location_id: int) -> Location:
    return _existing(await repository.get(session, location_id))


async def path(session: AsyncSession, location_id: int) -> Sequence[Any]:
    """Id and name of each location from the root down to this one."""
    return await trees.path(session, Location, location_id)


async def _place_below(session: AsyncSession, parent_id: int | None, moved_id: int | None) -> None:
    parent = await trees_service.place_below(session, Location, _KIND, parent_id, moved_id)
    if parent is not None:
        _demand_in_use(parent)


async def _changed(
    session: AsyncSession, caller: Principal, location: Location, action: str, values: dict[str, Any]
) -> Location:
    before = _fields(location)
    if before == {**before, **values}:
        return location
    try:
        changed = await repository.change(session, location.id, values)
    except IntegrityError as error:
        raise _taken(error) from error
    await audit.record(session, caller, action, _KIND, location.id, before, _fields(changed))
    touch(session, "catalogue")
    return changed


async def _demand_not_main(session: AsyncSession, location_id: int) -> None:
    if location_id == await repository.main_id(session):
        raise conflict("first-location", "The first location stays: it has what nobody gives another place.")


def _existing(location: Location | None) -> Location:
    if location is None:
        raise not_found(_KIND)
    return location


def _demand_in_use(location: Location) -> None:
    if location.archived_at is not None:
        raise conflict("archived", f"The location {location.name} is archived.")


def _fields(location: Location) -> dict[str, Any]:
    names = ("name", "parent_id", "barcode", "count_every_days", "archived_at")
    return {name: getattr(location, name) for name in names}


def _taken(error: IntegrityError) -> Problem:
    if broken_constraint(error) == "locations_barcode_key":
        return conflict("barcode-taken", "There is a location with this barcode already.")
    return conflict("name-taken", "There is a location with this name there already.")
