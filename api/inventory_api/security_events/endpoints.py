from typing import Annotated

from fastapi import APIRouter, Query

from inventory_api.dependencies import Caller, Session
from inventory_api.pages import Page, page_of
from inventory_api.security_events import service
from inventory_api.security_events.schemas import SecurityEventQuery, SecurityEventShown

router = APIRouter(prefix="/security-events", tags=["audit"])


@router.get("")
async def list_security_events(
    query: Annotated[SecurityEventQuery, Query()], caller: Caller, session: Session
) -> Page[SecurityEventShown]:
    """Failed sign-ins, refused permissions and the like, the newest first. They appear a moment after they happen."""
    return page_of(await service.page(session, caller, query), query, SecurityEventShown, lambda event: event.id)
