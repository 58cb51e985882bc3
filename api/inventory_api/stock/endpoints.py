from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Response

from inventory_api.dependencies import Caller, Session
from inventory_api.fields import Input, PathId
from inventory_api.idempotency.header import IdempotencyKey, response_of
from inventory_api.idempotency.service import Answer, answer_once
from inventory_api.pages import Page, page_of
from inventory_api.reads import ReadRow
from inventory_api.stock import service
from inventory_api.stock.schemas import (
    Adjustment,
    Booked,
    EntryQuery,
    EntryShown,
    ItemLevels,
    LevelQuery,
    LevelShown,
    Move,
    Receipt,
    WriteOff,
)

router = APIRouter(tags=["stock"])
Wanted = TypeVar("Wanted", bound=Input)


@router.post("/stock/receive", status_code=201, response_model=Booked)
async def receive_stock(wanted: Receipt, key: IdempotencyKey, caller: Caller, session: Session) -> Response:
    return await _booked_once(service.receive, wanted, key, caller, session)


@router.post("/stock/move", status_code=201, response_model=Booked)
async def move_stock(wanted: Move, key: IdempotencyKey, caller: Caller, session: Session) -> Response:
    return await _booked_once(service.move, wanted, key, caller, session)


@router.post("/stock/adjust", status_code=201, response_model=Booked)
async def adjust_stock(wanted: Adjustment, key: IdempotencyKey, caller: Caller, session: Session) -> Response:
    return await _booked_once(service.adjust, wanted, key, caller, session)


@router.post("/stock/write-off", status_code=201, response_model=Booked)
async def write_off_stock(wanted: WriteOff, key: IdempotencyKey, caller: Caller, session: Session) -> Response:
    return await _booked_once(service.write_off, wanted, key, caller, session)


@router.get("/stock/entries")
async def list_stock_entries(
    query: Annotated[EntryQuery, Query()], caller: Caller, session: Session
) -> Page[EntryShown]:
    """The ledger, the newest entry first."""
    return page_of(await service.entries(session, caller, query), query, EntryShown, lambda entry: entry.id)


@router.get("/stock/levels")
async def list_stock_levels(
    query: Annotated[LevelQuery, Query()], _caller: Caller, session: Session
) -> Page[LevelShown]:
    """What a location has, in the order of the items' ids."""
    return page_of(await service.levels_at(session, query), query, LevelShown, lambda level: level.item_id)


@router.get("/items/{item_id}/stock", response_model=ItemLevels)
async def get_item_stock(item_id: PathId, _caller: Caller, session: Session) -> dict[str, object]:
    """Where an item is; an item with stock at very many locations is shown in full."""
    return {"levels": await service.levels_of_item(session, item_id)}


async def _booked_once(
    book: Callable[[Session, Caller, Wanted], Awaitable[Sequence[ReadRow]]],
    wanted: Wanted,
    key: str,
    caller: Caller,
    session: Session,
) -> Response:
    async def work() -> Answer:
        entries = [EntryShown.model_validate(entry) for entry in await book(session, caller, wanted)]
        return Answer(201, Booked(entries=entries).model_dump(mode="json"))

    return response_of(await answer_once(session, caller.id, f"stock-{book.__name__}", key, wanted, work))
