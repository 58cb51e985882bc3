from typing import Annotated

from pydantic import Field

from inventory_api.fields import Input, QueryId

MAX_LABELS = 100
_Ids = Annotated[list[QueryId], Field(max_length=MAX_LABELS)]


class SheetQuery(Input):
    """At most 100 labels in all, in the order in which their ids are given; one that is given twice is there twice."""

    item_ids: _Ids = Field(default=[])
    unit_ids: _Ids = Field(default=[])
    location_ids: _Ids = Field(default=[])
    columns: int = Field(default=3, ge=1, le=6)
