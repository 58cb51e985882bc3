from typing import Literal

from pydantic import ConfigDict, Field

from inventory_api.fields import Barcode, Id, Input, Note, Output, QueryId, Serial, Shown, unchanged
from inventory_api.pages import PageQuery
from inventory_api.units.models import UnitState

_States = Literal[UnitState.LENDABLE, UnitState.IN_REPAIR, UnitState.RETIRED]


class UnitCreate(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"serial": "SN-0042", "barcode": "4006381333931", "location_id": 2}]}
    )

    serial: Serial
    barcode: Barcode | None = None
    condition: Note = ""
    location_id: Id | None = Field(default=None, description="The first location where none is given")


class UnitChange(Input):
    """Only what is given changes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"condition": "scratched"}]})

    serial: Serial = unchanged()
    barcode: Barcode | None = None
    condition: Note = unchanged()


class UnitMove(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"location_id": 3, "reason": "to the workshop"}]})

    location_id: Id
    reason: Note = ""


class UnitStateChange(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"state": "in-repair", "reason": "the chuck is loose"}]})

    state: _States
    reason: Note = ""


class UnitQuery(PageQuery):
    item_id: QueryId | None = None
    location_id: QueryId | None = None
    state: UnitState | None = None
    on_loan: bool | None = None


class UnitShown(Output):
    id: int
    item_id: int
    serial: str
    barcode: str | None
    state: UnitState
    condition: str
    location_id: int
    loan_id: int | None
    version: int
    created_at: Shown
    updated_at: Shown
