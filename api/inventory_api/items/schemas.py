from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StrictBool, TypeAdapter, model_validator

from inventory_api.fields import (
    NOT_BLANK,
    WHOLE,
    WITHOUT_NUL,
    Barcode,
    Id,
    Input,
    Name,
    Output,
    Quantity,
    QueryId,
    Shown,
    Sku,
    Stock,
    Text,
    unchanged,
)
from inventory_api.items.models import Tracking
from inventory_api.pages import SortedQuery

MAX_ATTRIBUTES, MAX_ATTRIBUTES_LENGTH = 50, 2000
MAX_PHOTOS = 20
MAX_PARTS = 50
MAX_WORDS = 10
MAX_CENTS = 10**12
_MAX_NUMBER = 2**53 - 1
T = TypeVar("T")


def _short_in_all(attributes: dict[str, Any]) -> dict[str, Any]:
    length = sum(len(name) + len(str(value)) for name, value in attributes.items())
    if length > MAX_ATTRIBUTES_LENGTH:
        raise ValueError(f"must have {MAX_ATTRIBUTES_LENGTH} characters in all at most, and have {length}")
    return attributes


def _address(link: str) -> str:
    try:
        host = urlsplit(link).hostname
    except ValueError:
        host = None
    if not host:
        raise ValueError("must be an http or https address")
    return link


AttributeText = Annotated[Text, Field(max_length=500)]
AttributeNumber = Annotated[
    Annotated[int, Field(strict=True, ge=-_MAX_NUMBER, le=_MAX_NUMBER)]
    | Annotated[float, Field(strict=True, ge=-_MAX_NUMBER, le=_MAX_NUMBER)],
    Field(),
]
Attributes = Annotated[
    dict[Annotated[Text, Field(min_length=1, max_length=64)], StrictBool | AttributeNumber | AttributeText],
    Field(max_length=MAX_ATTRIBUTES),
    AfterValidator(_short_in_all),
]
Link = Annotated[str, Field(max_length=400, pattern=r"^(?i:https?)://[!-~]+$"), AfterValidator(_address)]
Links = Annotated[list[Link], Field(max_length=MAX_PHOTOS)]
Description = Annotated[Text, Field(max_length=2000)]
Cents = Annotated[int, Field(strict=True, ge=0, le=MAX_CENTS), WHOLE]


class ItemCreate(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Cordless drill",
                    "sku": "DRILL-1",
                    "quantity": 3,
                    "category_id": 1,
                    "barcode": "4006381333931",
                    "attributes": {"voltage": 18, "colour": "green"},
                    "minimum_stock": 1,
                    "unit_value_cents": 12900,
                }
            ]
        }
    )

    name: Name
    sku: Sku
    quantity: Stock = Field(description="the opening stock; 0 for what is tracked by units or a kit")
    location_id: Id | None = Field(
        default=None, description="where the opening stock is; the first location if left out"
    )
    category_id: Id | None = None
    tracking: Tracking = Tracking.QUANTITY
    description: Description = ""
    barcode: Barcode | None = None
    attributes: Attributes = Field(default_factory=dict)
    minimum_stock: Stock = 0
    photo_links: Links = Field(default_factory=list)
    unit_value_cents: Cents | None = None

    @model_validator(mode="after")
    def _figures_suit_the_tracking(self) -> "ItemCreate":
        if self.quantity and self.tracking is not Tracking.QUANTITY:
            raise ValueError(f"what is tracked by {self.tracking} has an opening quantity of 0")
        if self.minimum_stock and self.tracking is Tracking.KIT:
            raise ValueError("a kit has no stock of its own, and so no minimum of it")
        return self


class ItemChange(Input):
    """Only what is given changes; attributes and photo links are replaced as a whole."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Cordless drill, 18 V", "category_id": None, "minimum_stock": 2}]}
    )

    name: Name = unchanged()
    sku: Sku = unchanged()
    category_id: Id | None = None
    description: Description = unchanged()
    barcode: Barcode | None = None
    attributes: Attributes = unchanged()
    minimum_stock: Stock = unchanged()
    photo_links: Links = unchanged()
    unit_value_cents: Cents | None = None


class Part(Input):
    item_id: Id
    quantity: Quantity


def _each_once(parts: list[Part]) -> list[Part]:
    if len({part.item_id for part in parts}) < len(parts):
        raise ValueError("must name each item once")
    return parts


class Parts(Input):
    """All that belongs into a kit."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"parts": [{"item_id": 2, "quantity": 1}, {"item_id": 3, "quantity": 4}]}]}
    )

    parts: Annotated[list[Part], Field(max_length=MAX_PARTS), AfterValidator(_each_once)]


def _few_words(q: str) -> str:
    if len(q.split()) > MAX_WORDS:
        raise ValueError(f"must have {MAX_WORDS} words at most")
    return q


def _by_id(sort: str) -> str:
    return sort.replace("created_at", "id")


_Words = Annotated[str, Field(min_length=1, max_length=200, pattern=NOT_BLANK), WITHOUT_NUL, AfterValidator(_few_words)]


class ItemQuery(SortedQuery):
    keys: ClassVar[Mapping[str, TypeAdapter[Any]]] = {
        "name": TypeAdapter(Annotated[Text, Field(max_length=200)]),
        "sku": TypeAdapter(Annotated[Text, Field(max_length=64)]),
        "quantity": TypeAdapter(Annotated[int, Field(ge=0, lt=2**31)]),
    }

    q: _Words | None = Field(
        default=None,
        description="all of these words or parts of words in the name; or the beginning of the SKU or of the serial "
        "number of a unit, or a whole barcode",
        examples=["cordless drill"],
    )
    category_id: QueryId | None = Field(default=None, description="this category and all below it")
    location_id: QueryId | None = Field(
        default=None, description="what is at this location or one below it, or lent from there"
    )
    tracking: Tracking | None = None
    archived: bool = Field(default=False, description="true: what is archived, instead of what is in use")
    below_minimum: bool = Field(
        default=False, description="true: only that of which less is owned than `minimum_stock`"
    )
    available_only: bool = Field(default=False, description="true: only what could be lent now")
    sort: Annotated[
        Literal["created_at", "-created_at", "name", "-name", "sku", "-sku", "quantity", "-quantity"],
        AfterValidator(_by_id),
    ] = Field(
        default="created_at",
        validate_default=True,
        description="`created_at` is the order in which items were added, `quantity` is what is owned; with a minus "
        "the other way round",
    )

    @property
    def words(self) -> list[str]:
        return self.q.split() if self.q else []


class ItemShown(Output):
    id: int
    name: str
    sku: str
    quantity: int
    on_loan: int
    reserved: int
    available: int
    category_id: int | None
    tracking: Tracking
    description: str
    barcode: str | None
    attributes: dict[str, Any]
    minimum_stock: int
    photo_links: list[str]
    unit_value_cents: int | None
    archived_at: Shown | None
    version: int
    created_at: Shown
    updated_at: Shown


class LevelAt(Output):
    location_id: int
    on_hand: int
    on_loan: int
    reserved: int
    available: int


class PartShown(Output):
    item_id: int
    quantity: int


# PostgreSQL makes null, not an empty list, of no rows.
Aggregated = Annotated[list[T], BeforeValidator(lambda found: found or ())]


class ItemFound(ItemShown):
    stock: Aggregated[LevelAt] = Field(description="by location; empty for a kit, which has no stock of its own")
    parts: Aggregated[PartShown] = Field(description="what belongs into a kit")
