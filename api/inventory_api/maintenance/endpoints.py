from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.dependencies import Caller, Session
from inventory_api.fields import PathId
from inventory_api.idempotency.header import IdempotencyKey, response_of
from inventory_api.idempotency.service import Answer, answer_once
from inventory_api.maintenance import service
from inventory_api.maintenance.schemas import (
    DueQuery,
    MaintenanceCreate,
    MaintenanceDue,
    MaintenanceQuery,
    MaintenanceShown,
)
from inventory_api.pages import Page, page_of
from inventory_api.places import number_of, page_of_places

router = APIRouter(tags=["maintenance"])


@router.post("/units/{unit_id}/maintenance", status_code=201, response_model=MaintenanceShown)
async def add_maintenance(
    unit_id: PathId, wanted: MaintenanceCreate, key: IdempotencyKey, caller: Caller, session: Session
) -> Response:
    """Enters what was done to a unit, and when it is to be done again."""

    async def work() -> Answer:
        entry = await service.add(session, caller, unit_id, wanted)
        return Answer(201, MaintenanceShown.model_validate(entry).model_dump(mode="json"))

    return response_of(await answer_once(session, caller.id, f"maintain:{unit_id}", key, wanted, work))


@router.get("/units/{unit_id}/maintenance")
async def list_maintenance(
    unit_id: PathId, query: Annotated[MaintenanceQuery, Query()], caller: Caller, session: Session
) -> Page[MaintenanceShown]:
    """The newest entry first."""
    rows = await service.log(session, caller, unit_id, query)
    return page_of(rows, query, MaintenanceShown, lambda entry: entry.id)


@router.get("/maintenance/due")
async def list_due_maintenance(
    query: Annotated[DueQuery, Query()], caller: Caller, session: Session
) -> Page[MaintenanceDue]:
    """What is to be done again to units that are in use, what is due longest first."""
    rows = await service.due(session, caller, query)
    return page_of_places(rows, query, MaintenanceDue, lambda row: (number_of(row.next_due_at), row.entry_id))
