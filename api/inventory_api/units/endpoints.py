from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.concurrency import IfMatch, with_etag
from inventory_api.dependencies import Caller, Session
from inventory_api.fields import PathId
from inventory_api.idempotency.header import IdempotencyKey, response_of
from inventory_api.idempotency.service import Answer, answer_once
from inventory_api.pages import Page, page_of
from inventory_api.units import service
from inventory_api.units.models import Unit
from inventory_api.units.schemas import UnitChange, UnitCreate, UnitMove, UnitQuery, UnitShown, UnitStateChange

router = APIRouter(tags=["units"])


@router.post("/items/{item_id}/units", status_code=201, response_model=UnitShown)
async def create_unit(
    item_id: PathId, wanted: UnitCreate, key: IdempotencyKey, caller: Caller, session: Session
) -> Response:
    async def work() -> Answer:
        unit = await service.create(session, caller, item_id, wanted)
        return Answer(201, UnitShown.model_validate(unit).model_dump(mode="json"))

    return response_of(await answer_once(session, caller.id, f"create-unit:{item_id}", key, wanted, work))


@router.get("/units")
async def list_units(query: Annotated[UnitQuery, Query()], _caller: Caller, session: Session) -> Page[UnitShown]:
    return page_of(await service.page(session, query), query, UnitShown, lambda unit: unit.id)


@router.get("/units/{unit_id}", response_model=UnitShown)
async def get_unit(unit_id: PathId, _caller: Caller, session: Session, response: Response) -> Unit:
    return with_etag(response, await service.get(session, unit_id))


@router.patch("/units/{unit_id}", response_model=UnitShown)
async def change_unit(
    unit_id: PathId, wanted: UnitChange, if_match: IfMatch, caller: Caller, session: Session, response: Response
) -> Unit:
    return with_etag(response, await service.change(session, caller, unit_id, wanted, if_match))


@router.post("/units/{unit_id}/move", response_model=UnitShown)
async def move_unit(unit_id: PathId, wanted: UnitMove, caller: Caller, session: Session) -> Unit:
    return await service.move(session, caller, unit_id, wanted)


@router.post("/units/{unit_id}/state", response_model=UnitShown)
async def set_unit_state(unit_id: PathId, wanted: UnitStateChange, caller: Caller, session: Session) -> Unit:
    return await service.set_state(session, caller, unit_id, wanted)
