from typing import Literal

from pydantic import ConfigDict, Field

from inventory_api.fields import Code, Input, Output
from inventory_api.references import Kind

Way = Literal["reference", "barcode", "sku", "serial"]


class LookupQuery(Input):
    code: Code = Field(
        description="what a scanner reads: a barcode, a SKU, a serial number, or what our labels say",
        examples=["4006381333931"],
    )


class ThingFound(Output):
    kind: Kind
    id: int
    item_id: int | None = Field(description="the item itself, or the unit's; null for a location")
    name: str = Field(description="of the item or the location")
    by: Way = Field(description="which of its codes this is")
    archived: bool


class LookupResult(Output):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "found": [
                        {
                            "kind": "unit",
                            "id": 7,
                            "item_id": 3,
                            "name": "Cordless drill",
                            "by": "serial",
                            "archived": False,
                        }
                    ]
                }
            ]
        }
    )

    found: list[ThingFound]
