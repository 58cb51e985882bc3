from typing import Literal

from pydantic import Field

from inventory_api.fields import Barcode, Id, Input, Note, Output, QueryId, Serial, Shown, unchanged
from inventory_api.pages import PageQuery
from inventory_api.units.models import UnitState

_States = Literal[UnitState.LENDABLE, UnitState.IN_REPAIR, UnitState.RETIRED]


class UnitCreate(Input):
    serial: Serial
    barcode: Barcode | None = None
    condition: Note = ""
    location_id: Id | None = Field(default=None, description="The first location where none is given")


class UnitChange(Input):
    """Only what is given changes."""

    serial: Serial = unchanged()
    barcode: Barcode | None = None
    condition: Note = unchanged()


class UnitMove(Input):
    location_id: Id
    reason: Note = ""


class UnitStateChange(Input):
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
