from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.dependencies import Caller, Session
from inventory_api.fields import PathId
from inventory_api.idempotency.header import IdempotencyKey, response_of
from inventory_api.idempotency.service import Answer, answer_once
from inventory_api.pages import Page, PageQuery, page_of
from inventory_api.places import PlaceQuery, number_of, page_of_places
from inventory_api.stocktakes import service
from inventory_api.stocktakes.models import Stocktake, StocktakeScan
from inventory_api.stocktakes.schemas import (
    Booking,
    CountCreate,
    DueShown,
    ItemLineShown,
    LineQuery,
    ScanCreate,
    ScanResult,
    ScanShown,
    StocktakeQuery,
    StocktakeShown,
    StocktakeStart,
    UnitLineShown,
)

router = APIRouter(prefix="/stocktakes", tags=["stocktakes"])


@router.post("", status_code=201, response_model=StocktakeShown)
async def start_stocktake(wanted: StocktakeStart, key: IdempotencyKey, caller: Caller, session: Session) -> Response:
    """Of one location, without those below it; one at a time is open there."""

    async def work() -> Answer:
        stocktake = await service.start(session, caller, wanted)
        return Answer(201, StocktakeShown.model_validate(stocktake).model_dump(mode="json"))

    return response_of(await answer_once(session, caller.id, "start-stocktake", key, wanted, work))


@router.get("")
async def list_stocktakes(
    query: Annotated[StocktakeQuery, Query()], caller: Caller, session: Session
) -> Page[StocktakeShown]:
    """The newest first."""
    rows = await service.page(session, caller, query)
    return page_of(rows, query, StocktakeShown, lambda stocktake: stocktake.id)


@router.get("/due")
async def list_due_stocktakes(
    query: Annotated[PlaceQuery, Query()], caller: Caller, session: Session
) -> Page[DueShown]:
    """Locations that have not been counted for as long as their `count_every_days` says, the longest first."""
    rows = await service.due(session, caller, query)
    return page_of_places(rows, query, DueShown, lambda row: (number_of(row.due_at), row.location_id))


@router.get("/{stocktake_id}", response_model=StocktakeShown)
async def get_stocktake(stocktake_id: PathId, caller: Caller, session: Session) -> Stocktake:
    return await service.get(session, caller, stocktake_id)


@router.post("/{stocktake_id}/scans", status_code=201, response_model=ScanResult)
async def add_scan(
    stocktake_id: PathId, wanted: ScanCreate, key: IdempotencyKey, caller: Caller, session: Session
) -> Response:
    """Adds to what was counted of an item, or says that a unit is here."""

    async def work() -> Answer:
        return _answer(await service.scan(session, caller, stocktake_id, wanted))

    return response_of(await answer_once(session, caller.id, f"scan:{stocktake_id}", key, wanted, work))


@router.get("/{stocktake_id}/scans")
async def list_scans(
    stocktake_id: PathId, query: Annotated[PageQuery, Query()], caller: Caller, session: Session
) -> Page[ScanShown]:
    """The newest first."""
    return page_of(await service.scans(session, caller, stocktake_id, query), query, ScanShown, lambda scan: scan.id)


@router.post("/{stocktake_id}/scans/{scan_id}/undo", response_model=ScanShown)
async def undo_scan(stocktake_id: PathId, scan_id: PathId, caller: Caller, session: Session) -> StocktakeScan:
    return await service.undo(session, caller, stocktake_id, scan_id)


@router.post("/{stocktake_id}/counts", status_code=201, response_model=ScanResult)
async def set_count(
    stocktake_id: PathId, wanted: CountCreate, key: IdempotencyKey, caller: Caller, session: Session
) -> Response:
    """Says how many there are in place of all scans before, or whether a unit is here."""

    async def work() -> Answer:
        return _answer(await service.count(session, caller, stocktake_id, wanted))

    return response_of(await answer_once(session, caller.id, f"count:{stocktake_id}", key, wanted, work))


@router.get("/{stocktake_id}/items")
async def list_stocktake_items(
    stocktake_id: PathId, query: Annotated[LineQuery, Query()], caller: Caller, session: Session
) -> Page[ItemLineShown]:
    """What was expected and counted of each item; once it is booked, what differed."""
    lines = await service.item_lines(session, caller, stocktake_id, query)
    return page_of(lines, query, ItemLineShown, lambda line: line.item_id)


@router.get("/{stocktake_id}/units")
async def list_stocktake_units(
    stocktake_id: PathId, query: Annotated[LineQuery, Query()], caller: Caller, session: Session
) -> Page[UnitLineShown]:
    """The same of each unit, also those that belong elsewhere."""
    lines = await service.unit_lines(session, caller, stocktake_id, query)
    return page_of(lines, query, UnitLineShown, lambda line: line.unit_id)


@router.post("/{stocktake_id}/book", response_model=StocktakeShown)
async def book_stocktake(
    stocktake_id: PathId, caller: Caller, session: Session, wanted: Booking | None = None
) -> Stocktake:
    return await service.book(session, caller, stocktake_id, wanted or Booking())


@router.post("/{stocktake_id}/cancel", response_model=StocktakeShown)
async def cancel_stocktake(stocktake_id: PathId, caller: Caller, session: Session) -> Stocktake:
    return await service.cancel(session, caller, stocktake_id)


def _answer(counted: service.Counted) -> Answer:
    shown = ScanResult(
        **ScanShown.model_validate(counted.scan).model_dump(),
        expected=counted.expected,
        counted=counted.counted,
        finding=counted.finding,
    )
    return Answer(201, shown.model_dump(mode="json"))
