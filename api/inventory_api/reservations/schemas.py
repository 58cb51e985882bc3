from pydantic import ConfigDict, Field, model_validator

from inventory_api.fields import Id, Input, Moment, Output, Quantity, QueryId, Shown
from inventory_api.pages import PageQuery
from inventory_api.reservations.models import Status


class Reserve(Input):
    """For a time; or without dates for as soon as possible: set aside at once, or in the waiting line."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"item_id": 1, "quantity": 2, "starts_at": "2030-01-01T12:00:00Z", "ends_at": "2030-01-03T12:00:00Z"},
                {"item_id": 1},
                {"unit_id": 7, "starts_at": "2030-01-01T12:00:00Z", "ends_at": "2030-01-03T12:00:00Z"},
            ]
        }
    )

    item_id: Id | None = None
    unit_id: Id | None = Field(default=None, description="instead of the item: this one unit and no other")
    user_id: Id | None = Field(default=None, description="for whom; for the caller if left out")
    quantity: Quantity = 1
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    location_id: Id | None = Field(default=None, description="where it is to be picked up; anywhere if left out")

    @model_validator(mode="after")
    def _is_of_one_thing_and_time(self) -> "Reserve":
        if (self.item_id is None) == (self.unit_id is None):
            raise ValueError("needs either item_id or unit_id")
        if (self.starts_at is None) != (self.ends_at is None):
            raise ValueError("needs both starts_at and ends_at, or neither")
        if self.starts_at is not None and self.ends_at is not None and self.starts_at >= self.ends_at:
            raise ValueError("must end after it starts")
        if self.unit_id is not None and (self.quantity != 1 or self.starts_at is None):
            raise ValueError("a reservation of one unit has a quantity of 1 and needs starts_at and ends_at")
        return self


class ReservationQuery(PageQuery):
    item_id: QueryId | None = None
    user_id: QueryId | None = None
    status: Status | None = None
    since: Moment | None = Field(default=None, alias="from", description="those that end after it")
    until: Moment | None = Field(default=None, description="those that start before it")
    at_risk: bool = Field(
        default=False,
        description="only those for which too little is left: stock has left, a unit is out of use, or what is to be "
        "set aside is not back",
    )


class ReservationShown(Output):
    id: int
    item_id: int
    unit_id: int | None
    unit_ids: list[int]
    location_id: int | None
    user_id: int
    quantity: int
    status: Status
    position: int | None = Field(description="the place in the waiting line, from 1 on")
    starts_at: Shown | None
    ends_at: Shown | None
    expires_at: Shown | None = Field(description="until when it is kept for the person")
    loan_id: int | None
    created_by: int
    created_at: Shown
    closed_at: Shown | None


class AvailabilityQuery(Input):
    since: Moment | None = Field(default=None, alias="from", description="now if left out")
    until: Moment | None = Field(default=None, description="30 days later if left out")


class AvailabilityStep(Output):
    since: Shown = Field(serialization_alias="from")
    until: Shown
    available: int


class Availability(Output):
    item_id: int
    since: Shown = Field(serialization_alias="from")
    until: Shown = Field(description="earlier than asked for where there would be very many steps")
    steps: list[AvailabilityStep]
