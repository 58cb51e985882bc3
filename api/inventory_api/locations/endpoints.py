from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.concurrency import IfMatch, with_etag
from inventory_api.dependencies import Caller, Session
from inventory_api.fields import PathId
from inventory_api.idempotency.header import OptionalIdempotencyKey, created
from inventory_api.locations import service
from inventory_api.locations.models import Location
from inventory_api.locations.schemas import (
    LocationChange,
    LocationCreate,
    LocationFound,
    LocationQuery,
    LocationShown,
)
from inventory_api.pages import Page, page_of

router = APIRouter(prefix="/locations", tags=["locations"])


@router.post("", status_code=201, response_model=LocationShown)
async def create_location(
    wanted: LocationCreate, caller: Caller, session: Session, key: OptionalIdempotencyKey = None
) -> Response:
    async def work() -> Location:
        return await service.create(session, caller, wanted)

    return await created(session, caller.id, "create-location", key, wanted, LocationShown, work)


@router.get("")
async def list_locations(
    query: Annotated[LocationQuery, Query()], _caller: Caller, session: Session
) -> Page[LocationShown]:
    """All that are in use, each with its parent; or those right below one."""
    return page_of(await service.page(session, query), query, LocationShown, lambda location: location.id)


@router.get("/{location_id}")
async def get_location(location_id: PathId, _caller: Caller, session: Session, response: Response) -> LocationFound:
    location = with_etag(response, LocationShown.model_validate(await service.get(session, location_id)))
    path = await service.path(session, location_id)
    return LocationFound.model_validate({**location.model_dump(), "path": path})


@router.patch("/{location_id}", response_model=LocationShown)
async def change_location(
    location_id: PathId,
    wanted: LocationChange,
    if_match: IfMatch,
    caller: Caller,
    session: Session,
    response: Response,
) -> Location:
    return with_etag(response, await service.change(session, caller, location_id, wanted, if_match))


@router.post("/{location_id}/archive", response_model=LocationShown)
async def archive_location(location_id: PathId, caller: Caller, session: Session, response: Response) -> Location:
    """Only an empty one, from which nothing is lent. Nothing can be put there any more."""
    return with_etag(response, await service.archive(session, caller, location_id))


@router.post("/{location_id}/unarchive", response_model=LocationShown)
async def unarchive_location(location_id: PathId, caller: Caller, session: Session, response: Response) -> Location:
    return with_etag(response, await service.unarchive(session, caller, location_id))


@router.delete("/{location_id}", status_code=204)
async def delete_location(location_id: PathId, caller: Caller, session: Session) -> None:
    """Only where nothing hangs on it: nothing below it, and nothing was ever there. Else archive it."""
    await service.remove(session, caller, location_id)
