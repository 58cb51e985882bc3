from typing import Annotated

from fastapi import APIRouter, Query

from inventory_api.audit import service
from inventory_api.audit.schemas import AuditEventShown, AuditQuery
from inventory_api.dependencies import Caller, Session
from inventory_api.pages import Page, page_of

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("")
async def list_audit_events(
    query: Annotated[AuditQuery, Query()], caller: Caller, session: Session
) -> Page[AuditEventShown]:
    """Who changed what, from what to what, the newest first."""
    return page_of(await service.page(session, caller, query), query, AuditEventShown, lambda event: event.id)
