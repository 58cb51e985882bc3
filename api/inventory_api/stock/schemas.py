from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from inventory_api.fields import NOT_BLANK, WITHOUT_NUL, Difference, Id, Input, Note, Output, Quantity, QueryId, Shown
from inventory_api.ledger.models import EntryKind
from inventory_api.pages import PageQuery


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("must not be 0")
    return value


Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=NOT_BLANK), WITHOUT_NUL]


class Receipt(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"item_id": 1, "location_id": 2, "quantity": 10, "reason": "delivery of May"}]}
    )

    item_id: Id
    location_id: Id | None = Field(default=None, description="The first location where none is given")
    quantity: Quantity
    reason: Note = ""


class Move(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"item_id": 1, "from_location_id": 2, "to_location_id": 3, "quantity": 4}]}
    )

    item_id: Id
    from_location_id: Id
    to_location_id: Id
    quantity: Quantity
    reason: Note = ""


class Adjustment(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"item_id": 1, "location_id": 2, "difference": -1, "reason": "counted anew"}]}
    )

    item_id: Id
    location_id: Id
    difference: Annotated[Difference, AfterValidator(_not_zero), Field(json_schema_extra={"not": {"const": 0}})]
    reason: Reason


class WriteOff(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"item_id": 1, "location_id": 2, "quantity": 1, "reason": "broken"}]}
    )

    item_id: Id
    location_id: Id
    quantity: Quantity
    reason: Reason


class EntryQuery(PageQuery):
    item_id: QueryId | None = None
    location_id: QueryId | None = None
    unit_id: QueryId | None = None
    loan_id: QueryId | None = None
    kind: EntryKind | None = None


class EntryShown(Output):
    """One line of the ledger; the figures are differences."""

    id: int
    item_id: int
    location_id: int
    unit_id: int | None
    loan_id: int | None
    kind: EntryKind
    on_hand: int
    on_loan: int
    reserved: int
    actor_id: int | None
    reason: str
    at: Shown


class Booked(Output):
    entries: list[EntryShown]


class LevelShown(Output):
    item_id: int
    location_id: int
    on_hand: int
    on_loan: int
    reserved: int
    available: int


class LevelQuery(PageQuery):
    location_id: QueryId


class ItemLevels(Output):
    levels: list[LevelShown]
