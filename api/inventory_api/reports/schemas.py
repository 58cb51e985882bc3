import enum
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import Field, model_validator

from inventory_api.fields import Input, Moment, Output, Shown
from inventory_api.pages import Page, PageQuery
from inventory_api.places import PlaceQuery

MAX_USE_DAYS = 1100
_USE_DAYS = 365


def _now() -> datetime:
    return datetime.now(UTC)


class ItemCounts(Output):
    total: int
    by_quantity: int
    by_units: int
    kits: int
    archived: int = Field(description="of all these")


class UnitCounts(Output):
    lendable: int
    in_repair: int
    retired: int
    lost: int


class StockCounts(Output):
    owned: int
    on_hand: int
    on_loan: int
    reserved: int = Field(description="of what is on hand")


class LoanCounts(Output):
    """A kit's loan counts as one."""

    open: int
    overdue: int


class ReservationCounts(Output):
    booked: int
    waiting: int
    ready: int


class Statistics(Output):
    as_of: Shown = Field(description="when these were counted")
    items: ItemCounts
    units: UnitCounts
    stock: StockCounts
    loans: LoanCounts
    reservations: ReservationCounts
    active_people: int


class Figure(enum.StrEnum):
    AVAILABLE = "available"
    ON_HAND = "on-hand"


class LowStock(Output):
    id: int
    name: str
    sku: str
    category_id: int | None
    minimum_stock: int
    quantity: int
    on_loan: int
    reserved: int
    available: int
    missing: int = Field(description="as many more would be enough")


class LowStockQuery(PageQuery):
    by: Figure = Field(default=Figure.AVAILABLE, description="which figure is too low")


class OverdueOfPerson(Output):
    """A kit's loan counts as one; a day that has begun counts as a day."""

    user_id: int
    name: str
    email: str
    loans: int
    outstanding: int = Field(description="pieces that are still out")
    oldest_due_at: Shown
    days_1_to_7: int
    days_8_to_30: int
    days_31_and_more: int


class OverdueTotals(Output):
    """Of all people, on whichever page."""

    people: int
    loans: int
    outstanding: int
    days_1_to_7: int
    days_8_to_30: int
    days_31_and_more: int


class OverduePage(Page[OverdueOfPerson]):
    totals: OverdueTotals


class Range(Input):
    since: Moment = Field(
        default_factory=lambda: _now() - timedelta(days=_USE_DAYS), description="a year ago if left out"
    )
    until: Moment = Field(default_factory=_now, description="now if left out")

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if not timedelta() < self.until - self.since <= timedelta(days=MAX_USE_DAYS):
            raise ValueError(f"until must be after since, by {MAX_USE_DAYS} days at most")
        return self


class UseQuery(PageQuery, Range):
    lent: bool | None = Field(default=None, description="true: items lent at some time in between; false: those not")


class UseFigure(enum.StrEnum):
    LOANS = "loans"
    LOAN_DAYS = "loan-days"


class MostUsedQuery(PlaceQuery, Range):
    by: UseFigure = UseFigure.LOANS


class UseInMonth(Output):
    since: Shown = Field(description="the month's begin, or that of the range")
    loans: int = Field(description="that began in it")
    loan_days: float


class UseOfItem(Output):
    """A loan counts by the time to its end, once, however many pieces it has."""

    id: int
    name: str
    sku: str
    loans: int
    loan_days: float
    months: list[UseInMonth] = Field(description="in UTC; those in which it was lent at no time are left out")


class ValueOfCategory(Output):
    category_id: int | None = Field(description="null: what has no category")
    name: str | None
    value_cents: int
    items_without_value: int


class ValueOfLocation(Output):
    location_id: int
    name: str
    value_cents: int


class StockValue(Output):
    as_of: Shown = Field(description="when these were summed")
    total_cents: int
    items_without_value: int = Field(description="that are owned, but nobody has said what they are worth")
    categories: list[ValueOfCategory] = Field(description="of the top level, with all below; the most valuable first")
    other_categories_cents: int = Field(description="of those that the list has no room for")
    locations: list[ValueOfLocation] = Field(description="with what is on loan from there; the most valuable first")
    other_locations_cents: int
