import enum
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from inventory_api.fields import Code, Id, Input, Note, Output, Quantity, QueryId, Shown, Stock
from inventory_api.pages import PageQuery
from inventory_api.stocktakes.findings import Finding
from inventory_api.stocktakes.models import StocktakeStatus


class StocktakeStart(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"location_id": 1}]})

    location_id: Id
    note: Note = ""


class _Counted(Input):
    """One of three ways to say what was counted."""

    item_id: Id | None = None
    unit_id: Id | None = None
    code: Code | None = Field(default=None, description="what a scanner reads: a barcode, a serial number or a SKU")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(given is not None for given in (self.item_id, self.unit_id, self.code)) != 1:
            raise ValueError("give one of item_id, unit_id and code")
        return self


class ScanCreate(_Counted):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "4006381333931"}, {"item_id": 1, "quantity": 12}]}
    )

    quantity: Quantity = Field(default=1, description="adds to what was counted before")


class CountCreate(_Counted):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"item_id": 1, "quantity": 12}, {"unit_id": 7, "quantity": 0}]}
    )

    quantity: Stock = Field(description="all there is, in place of what was counted before; of a unit 1 or 0")


class Uncounted(enum.StrEnum):
    REFUSE = "refuse"
    LEAVE = "leave"
    MISSING = "missing"


class Booking(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"uncounted": "missing"}]})

    uncounted: Uncounted = Field(
        default=Uncounted.REFUSE,
        description="What becomes of what is expected and was not counted: `refuse` books nothing as long as there is "
        "any, `leave` leaves it as it is, `missing` takes it for missing unless it moved since the stocktake began",
    )


class StocktakeQuery(PageQuery):
    location_id: QueryId | None = None
    status: StocktakeStatus | None = None


class Only(enum.StrEnum):
    ALL = "all"
    DIFFERING = "differing"
    UNCOUNTED = "uncounted"


class LineQuery(PageQuery):
    only: Only = Field(
        default=Only.ALL,
        description="`differing`: counted, but not as expected; `uncounted`: expected, not counted",
    )


class StocktakeShown(Output):
    id: int
    location_id: int
    status: StocktakeStatus
    note: str
    started_by: int
    started_at: Shown
    ended_by: int | None
    ended_at: Shown | None
    pieces_found: int = Field(description="booked as more than were known")
    pieces_missing: int = Field(description="booked as fewer than were known")
    units_moved: int = Field(description="units that were recorded at another location")
    left_uncounted: int = Field(description="items and units that were expected, not counted and left as they were")


class ScanShown(Output):
    id: int
    item_id: int
    unit_id: int | None
    quantity: int
    is_total: bool
    code: str
    scanned_by: int
    scanned_at: Shown
    undone_by: int | None
    undone_at: Shown | None


class ScanResult(ScanShown):
    """The scan, and how the count of this item or unit stands with it."""

    expected: int
    counted: int
    finding: Finding


class ItemLineShown(Output):
    item_id: int
    sku: str
    name: str
    expected: int
    counted: int | None = Field(description="null: not counted")
    finding: Finding


class UnitLineShown(Output):
    unit_id: int
    serial: str
    item_id: int
    sku: str
    name: str
    expected: int = Field(description="1 if it should be here, else 0")
    counted: int | None = Field(description="1 if it was seen, 0 if it was looked for in vain, null if neither")
    finding: Finding


class DueShown(Output):
    location_id: int
    name: str
    count_every_days: int
    counted_at: Shown | None
    due_at: Shown
    stocktake_id: int | None = Field(description="the one that is open there")
