from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from inventory_api.fields import Id, Input, Moment, Note, Output, Quantity, QueryId, Shown
from inventory_api.pages import PageQuery

UnitIds = Annotated[list[Id], Field(min_length=1, max_length=100)]


class CheckOut(Input):
    """An item and how many of it; or a reservation, which says all that but when it is due."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"item_id": 1, "quantity": 2, "due_at": "2030-01-01T12:00:00Z", "note": "for the workshop"},
                {"item_id": 3, "quantity": 1, "unit_ids": [7], "due_at": "2030-01-01T12:00:00Z"},
                {"reservation_id": 5, "due_at": "2030-01-01T12:00:00Z"},
            ]
        }
    )

    reservation_id: Id | None = None
    item_id: Id | None = None
    user_id: Id | None = Field(default=None, description="who borrows; the caller if left out")
    quantity: Quantity | None = None
    due_at: Moment
    location_id: Id | None = Field(default=None, description="from where; from where most is available if left out")
    unit_ids: UnitIds | None = Field(default=None, description="which units; any that are on the shelf if left out")
    note: Note = ""

    @model_validator(mode="after")
    def _is_of_one_thing(self) -> "CheckOut":
        if self.reservation_id is None:
            if self.item_id is None or self.quantity is None:
                raise ValueError("needs item_id and quantity, or reservation_id")
        elif {"item_id", "user_id", "quantity", "location_id", "unit_ids"} & self.model_fields_set:
            raise ValueError("a reservation says what is lent, and to whom: leave out all but due_at and note")
        return self


class Return(Input):
    """All that is still out if nothing is given."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"condition": "one bit is missing"}, {"quantity": 1, "location_id": 2}]}
    )

    quantity: Quantity | None = None
    unit_ids: UnitIds | None = None
    location_id: Id | None = Field(default=None, description="to where; to where it came from if left out")
    condition: Note = ""


class Loss(Input):
    """All that is still out if neither quantity nor units are given."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"quantity": 1, "reason": "left on the train"}]})

    quantity: Quantity | None = None
    unit_ids: UnitIds | None = None
    reason: Note = ""


class Renewal(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"due_at": "2030-01-01T12:00:00Z"}]})

    due_at: Moment


class LoanQuery(PageQuery):
    item_id: QueryId | None = None
    user_id: QueryId | None = None
    kit_loan_id: QueryId | None = Field(default=None, description="the loans of a kit's parts")
    open: bool | None = Field(default=None, description="true: not yet returned; false: returned")
    overdue: bool | None = Field(default=None, description="true: not yet returned though it was due")


class LoanUnitShown(Output):
    unit_id: int
    returned_at: Shown | None
    lost: bool
    condition: str


class LoanShown(Output):
    id: int
    item_id: int
    user_id: int
    quantity: int
    lent_by: int
    lent_at: Shown
    due_at: Shown
    returned_at: Shown | None
    outstanding: int
    returned: int
    lost: int
    overdue: bool
    renewals: int
    location_id: int | None
    kit_loan_id: int | None
    note: str
    units: list[LoanUnitShown]
