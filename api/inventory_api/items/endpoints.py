from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.dependencies import Caller, Session
from inventory_api.fields import PathId
from inventory_api.idempotency.header import OptionalIdempotencyKey, created
from inventory_api.items import service
from inventory_api.items.models import Item
from inventory_api.items.schemas import ItemCreate, ItemQuery, ItemShown
from inventory_api.pages import Page, page_of

router = APIRouter(prefix="/items", tags=["items"])


@router.post("", status_code=201, response_model=ItemShown)
async def create_item(
    wanted: ItemCreate, caller: Caller, session: Session, key: OptionalIdempotencyKey = None
) -> Response:
    async def work() -> Item:
        return await service.create(session, caller, wanted)

    return await created(session, caller.id, "create-item", key, wanted, ItemShown, work)


@router.get("")
async def list_items(query: Annotated[ItemQuery, Query()], _caller: Caller, session: Session) -> Page[ItemShown]:
    return page_of(await service.page(session, query), query, ItemShown, lambda item: item.id)


@router.get("/{item_id}", response_model=ItemShown)
async def get_item(item_id: PathId, _caller: Caller, session: Session) -> Item:
    return await service.get(session, item_id)
