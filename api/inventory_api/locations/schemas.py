from typing import Annotated

from pydantic import ConfigDict, Field

from inventory_api.fields import MAX_ID, WHOLE, Barcode, Id, Input, Name, Output, Shown, unchanged
from inventory_api.pages import PageQuery

ParentId = Annotated[int, Field(ge=0, le=MAX_ID)]
Days = Annotated[int, Field(strict=True, ge=1, le=3650), WHOLE]


class LocationCreate(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Shelf 3", "parent_id": 1, "barcode": "LOC-3", "count_every_days": 90}]
        }
    )

    name: Name
    parent_id: Id | None = Field(default=None, description="null: a root")
    barcode: Barcode | None = None
    count_every_days: Days | None = Field(default=None, description="how often a stocktake is due; null: never")


class LocationChange(Input):
    """Only what is given changes; another parent moves the whole branch."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Shelf 4"}, {"count_every_days": None}]})

    name: Name = unchanged()
    parent_id: Id | None = Field(default=None, description="null: becomes a root")
    barcode: Barcode | None = None
    count_every_days: Days | None = Field(default=None, description="null: never")


class LocationQuery(PageQuery):
    parent_id: ParentId | None = Field(default=None, description="those right below it; 0: the roots")
    archived: bool = Field(default=False, description="true: those that are archived, instead of those in use")


class LocationShown(Output):
    id: int
    name: str
    parent_id: int | None
    barcode: str | None
    count_every_days: int | None
    counted_at: Shown | None
    archived_at: Shown | None
    version: int
    created_at: Shown
    updated_at: Shown


class Step(Output):
    id: int
    name: str


class LocationFound(LocationShown):
    path: list[Step] = Field(description="from the root down to this one")
