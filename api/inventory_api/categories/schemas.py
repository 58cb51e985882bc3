from typing import Annotated

from pydantic import ConfigDict, Field

from inventory_api.fields import MAX_ID, Id, Input, Name, Output, Shown, unchanged
from inventory_api.pages import PageQuery

ParentId = Annotated[int, Field(ge=0, le=MAX_ID)]


class CategoryCreate(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Cordless tools", "parent_id": 1}]})

    name: Name
    parent_id: Id | None = Field(default=None, description="null: a root")


class CategoryChange(Input):
    """Only what is given changes; another parent moves the whole branch."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Power tools"}, {"parent_id": None}]})

    name: Name = unchanged()
    parent_id: Id | None = Field(default=None, description="null: becomes a root")


class CategoryQuery(PageQuery):
    parent_id: ParentId | None = Field(default=None, description="those right below it; 0: the roots")


class CategoryShown(Output):
    id: int
    name: str
    parent_id: int | None
    version: int
    created_at: Shown
    updated_at: Shown


class Step(Output):
    id: int
    name: str


class CategoryFound(CategoryShown):
    path: list[Step] = Field(description="from the root down to this one")
