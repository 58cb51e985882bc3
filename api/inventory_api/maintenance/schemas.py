from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from inventory_api.fields import WHOLE, Input, Moment, Output, Shown, Text
from inventory_api.maintenance.models import MaintenanceKind
from inventory_api.pages import PageQuery
from inventory_api.places import PlaceQuery
from inventory_api.units.models import UnitState

Cost = Annotated[int, Field(strict=True, ge=0, le=10**12), WHOLE]


class MaintenanceCreate(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "repair",
                    "text": "new chuck",
                    "cost_cents": 1900,
                    "done_by": "Tool Doctor",
                    "next_due_at": "2030-01-01T12:00:00Z",
                    "state": "lendable",
                }
            ]
        }
    )

    kind: MaintenanceKind
    text: Annotated[Text, Field(max_length=1000)] = ""
    cost_cents: Cost | None = None
    done_by: Annotated[Text, Field(max_length=200, description="if not by whoever enters it")] = ""
    done_at: Moment | None = Field(default=None, description="now if left out")
    next_due_at: Moment | None = Field(default=None, description="when it is to be done again")
    state: Literal[UnitState.LENDABLE, UnitState.IN_REPAIR, UnitState.RETIRED] | None = Field(
        default=None, description="the unit's state from now on; as before if left out"
    )


class MaintenanceQuery(PageQuery):
    kind: MaintenanceKind | None = None


class DueQuery(PlaceQuery):
    kind: MaintenanceKind | None = None
    until: Moment | None = Field(default=None, description="what is due by then; by now if left out")


class MaintenanceShown(Output):
    id: int
    unit_id: int
    kind: MaintenanceKind
    text: str
    cost_cents: int | None
    done_by: str
    done_at: Shown
    next_due_at: Shown | None
    state: UnitState | None = Field(description="what the unit's state was changed to with it")
    entered_by: int
    entered_at: Shown


class MaintenanceDue(Output):
    """What was done last, and where the unit is now."""

    entry_id: int
    kind: MaintenanceKind
    done_at: Shown
    next_due_at: Shown
    unit_id: int
    serial: str
    state: UnitState
    location_id: int
    loan_id: int | None
    item_id: int
    sku: str
    name: str
