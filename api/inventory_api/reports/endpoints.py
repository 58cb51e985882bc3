from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.answers import as_json
from inventory_api.dependencies import Caller, Reading, Shared
from inventory_api.pages import Page, PageQuery, page_of
from inventory_api.places import page_of_places
from inventory_api.reports import service
from inventory_api.reports.schemas import (
    LowStock,
    LowStockQuery,
    MostUsedQuery,
    OverdueOfPerson,
    OverduePage,
    OverdueTotals,
    Statistics,
    StockValue,
    UseOfItem,
    UseQuery,
)

router = APIRouter(prefix="/reports", tags=["reports"])


@router.get("/statistics", response_model=Statistics)
async def get_statistics(caller: Caller, reads: Reading, shared: Shared) -> Response:
    return as_json(await service.statistics(reads, shared.cache, caller))


@router.get("/low-stock")
async def list_low_stock(query: Annotated[LowStockQuery, Query()], caller: Caller, reads: Reading) -> Page[LowStock]:
    """Items of which fewer are available, or on hand, than their minimum stock."""
    return page_of(await service.low_stock(reads, caller, query), query, LowStock, lambda row: row["id"])


@router.get("/overdue")
async def list_overdue(query: Annotated[PageQuery, Query()], caller: Caller, reads: Reading) -> OverduePage:
    """Loans not yet returned though they were due: how many of each person, for how long, and of all together."""
    found = await service.overdue(reads, caller, query)
    page = page_of(found["page"], query, OverdueOfPerson, lambda row: row["user_id"])
    return OverduePage(items=page.items, next_cursor=page.next_cursor, totals=OverdueTotals.model_validate(found))


@router.get("/use")
async def list_use(query: Annotated[UseQuery, Query()], caller: Caller, reads: Reading) -> Page[UseOfItem]:
    """Loans and the days they took, for each item that isn't archived, month by month."""
    return page_of(await service.use(reads, caller, query), query, UseOfItem, lambda row: row["id"])


@router.get("/most-used")
async def list_most_used(query: Annotated[MostUsedQuery, Query()], caller: Caller, reads: Reading) -> Page[UseOfItem]:
    """The same of the items that were lent, the most used first; for all pages of a list give the same range."""
    rows = await service.most_used(reads, caller, query)
    return page_of_places(rows, query, UseOfItem, lambda row: (row["number"], row["id"]))


@router.get("/value", response_model=StockValue)
async def get_value(caller: Caller, reads: Reading, shared: Shared) -> Response:
    """What all that is owned is worth, by category and by location."""
    return as_json(await service.value(reads, shared.cache, caller))
