from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from pydantic import TypeAdapter

from inventory_api.cache import Cache, Entry
from inventory_api.pages import PageQuery
from inventory_api.reads import ReadRow, Reads
from inventory_api.reports import repository
from inventory_api.reports.schemas import (
    Figure,
    ItemCounts,
    LoanCounts,
    LowStockQuery,
    MostUsedQuery,
    ReservationCounts,
    Statistics,
    StockCounts,
    StockValue,
    UnitCounts,
    UseFigure,
    UseQuery,
)
from inventory_api.users.permissions import Permission, Principal, demand

_MOST_LISTED = 200
# What the namespace is of: a change of the catalogue is in them at once, any other soon.
_STATISTICS = Entry("report:statistics", "catalogue", TypeAdapter(Statistics))
_VALUE = Entry("report:value", "catalogue", TypeAdapter(StockValue))


async def statistics(reads: Reads, cache: Cache, caller: Principal) -> Statistics:
    demand(caller, Permission.SEE_REPORTS)
    return await cache.get(_STATISTICS, partial(_count, reads))


async def low_stock(reads: Reads, caller: Principal, query: LowStockQuery) -> Sequence[ReadRow]:
    demand(caller, Permission.SEE_REPORTS)
    return await repository.low_stock(reads, query.after, query.limit + 1, on_hand=query.by is Figure.ON_HAND)


async def overdue(reads: Reads, caller: Principal, query: PageQuery) -> ReadRow:
    """Sums of all, and in `page` the people of this page."""
    demand(caller, Permission.SEE_REPORTS)
    return await repository.overdue(reads, query.after, query.limit + 1)


async def use(reads: Reads, caller: Principal, query: UseQuery) -> Sequence[ReadRow]:
    demand(caller, Permission.SEE_REPORTS)
    within = list(months(query.since, query.until))
    return await repository.use(reads, query.after, query.limit + 1, within, query.lent)


async def most_used(reads: Reads, caller: Principal, query: MostUsedQuery) -> Sequence[ReadRow]:
    demand(caller, Permission.SEE_REPORTS)
    within = list(months(query.since, query.until))
    by_days = query.by is UseFigure.LOAN_DAYS
    return await repository.most_used(reads, query.after, query.limit + 1, within, by_days=by_days)


async def value(reads: Reads, cache: Cache, caller: Principal) -> StockValue:
    demand(caller, Permission.SEE_REPORTS)
    return await cache.get(_VALUE, partial(_sum, reads))


def months(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The months in UTC from `since` until `until`, of which the first and the last may be parts."""
    start = since.astimezone(UTC)
    while start < until:
        next_month = datetime(start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC)
        yield start, min(next_month, until)
        start = next_month


async def _count(reads: Reads) -> Statistics:
    row = await repository.statistics(reads)
    return Statistics(
        as_of=row["as_of"],
        items=ItemCounts(
            total=row["items"],
            by_quantity=row["items_by_quantity"],
            by_units=row["items_by_units"],
            kits=row["kits"],
            archived=row["items_archived"],
        ),
        units=UnitCounts(
            lendable=row["units_lendable"],
            in_repair=row["units_in_repair"],
            retired=row["units_retired"],
            lost=row["units_lost"],
        ),
        stock=StockCounts(owned=row["owned"], on_hand=row["on_hand"], on_loan=row["on_loan"], reserved=row["reserved"]),
        loans=LoanCounts(open=row["open_loans"], overdue=row["overdue_loans"]),
        reservations=ReservationCounts(
            booked=row["reservations_booked"], waiting=row["reservations_waiting"], ready=row["reservations_ready"]
        ),
        active_people=row["active_people"],
    )


async def _sum(reads: Reads) -> StockValue:
    row = await repository.value(reads, _MOST_LISTED)
    return StockValue(
        **row,
        other_categories_cents=_rest(row, "categories"),
        other_locations_cents=_rest(row, "locations"),
    )


def _rest(row: ReadRow, listed: str) -> int:
    return int(row["total_cents"]) - sum(int(place["value_cents"]) for place in row[listed])
