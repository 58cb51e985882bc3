from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.answers import as_json
from inventory_api.concurrency import IfMatch, etag, with_etag
from inventory_api.dependencies import Caller, Reading, Session
from inventory_api.fields import PathId
from inventory_api.idempotency.header import OptionalIdempotencyKey, created
from inventory_api.items import service
from inventory_api.items.models import Item
from inventory_api.items.schemas import ItemChange, ItemCreate, ItemFound, ItemQuery, ItemShown, Parts
from inventory_api.pages import Page, page_until

router = APIRouter(prefix="/items", tags=["items"])


@router.post("", status_code=201, response_model=ItemShown)
async def create_item(
    wanted: ItemCreate, caller: Caller, session: Session, key: OptionalIdempotencyKey = None
) -> Response:
    async def work() -> Item:
        return await service.create(session, caller, wanted)

    return await created(session, caller.id, "create-item", key, wanted, ItemShown, work)


@router.get("", response_model=Page[ItemShown])
async def list_items(query: Annotated[ItemQuery, Query()], reads: Reading) -> Response:
    """A page may hold fewer items than `limit`, even none, and yet not be the last, where many have to be looked at
    for the few that match. The last one is where `next_cursor` is null.
    """
    found = await service.page(reads, query)
    return as_json(page_until(found.items, ItemShown, found.end))


@router.get("/{item_id}", response_model=ItemFound)
async def get_item(item_id: PathId, reads: Reading) -> Response:
    found = ItemFound.model_validate(await service.get_whole(reads, item_id))
    return as_json(found, {"ETag": etag(found.version)})


@router.patch("/{item_id}", response_model=ItemShown)
async def change_item(
    item_id: PathId, wanted: ItemChange, if_match: IfMatch, caller: Caller, session: Session, response: Response
) -> Item:
    return with_etag(response, await service.change(session, caller, item_id, wanted, if_match))


@router.put("/{item_id}/parts", response_model=ItemShown)
async def set_item_parts(
    item_id: PathId, wanted: Parts, if_match: IfMatch, caller: Caller, session: Session, response: Response
) -> Item:
    """All that belongs into a kit; not while it is on loan."""
    return with_etag(response, await service.set_parts(session, caller, item_id, wanted, if_match))


@router.post("/{item_id}/archive", response_model=ItemShown)
async def archive_item(item_id: PathId, caller: Caller, session: Session, response: Response) -> Item:
    """It can't be lent any more, and lists leave it out. Not while it is on loan or reserved."""
    return with_etag(response, await service.archive(session, caller, item_id))


@router.post("/{item_id}/unarchive", response_model=ItemShown)
async def unarchive_item(item_id: PathId, caller: Caller, session: Session, response: Response) -> Item:
    return with_etag(response, await service.unarchive(session, caller, item_id))


@router.delete("/{item_id}", status_code=204)
async def delete_item(item_id: PathId, caller: Caller, session: Session) -> None:
    """Only where no history hangs on it: no stock, loan, reservation or unit, ever. Else archive it."""
    await service.remove(session, caller, item_id)
