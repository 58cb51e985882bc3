import enum

from pydantic import Field

from inventory_api.fields import Email, Input, Name, Output, Quantity, QueryId, Sku, Stock
from inventory_api.items.models import Tracking
from inventory_api.items.schemas import ItemCreate
from inventory_api.ledger.models import EntryKind
from inventory_api.problems import FieldProblem
from inventory_api.units.models import UnitState
from inventory_api.units.schemas import UnitCreate
from inventory_api.users.models import Role

# The fields of an item that are columns of the table; what is there and where is told by the ledger.
STORED_OF_ITEM = tuple(name for name in ItemCreate.model_fields if name not in ("quantity", "location_id"))


class Format(enum.StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


class ImportKind(enum.StrEnum):
    CATEGORIES = "categories"
    LOCATIONS = "locations"
    ITEMS = "items"
    KIT_PARTS = "kit-parts"
    UNITS = "units"
    STOCK_LEVELS = "stock-levels"
    USERS = "users"


class ExportKind(enum.StrEnum):
    CATEGORIES = "categories"
    LOCATIONS = "locations"
    ITEMS = "items"
    KIT_PARTS = "kit-parts"
    UNITS = "units"
    STOCK_LEVELS = "stock-levels"
    STOCK_ENTRIES = "stock-entries"
    LOANS = "loans"
    USERS = "users"


class Mode(enum.StrEnum):
    CREATE = "create"
    UPSERT = "upsert"


class ImportQuery(Input):
    kind: ImportKind
    format: Format
    mode: Mode = Field(default=Mode.CREATE, description="upsert: change what is there already")
    dry_run: bool = Field(default=False, description="true: change nothing, and say what is wrong with each line")
    create_missing: bool = Field(default=False, description="true: create categories and locations that are missing")


class ImportRequest(ImportQuery):
    """What makes an import the same again: how, and which bytes."""

    digest: str


class ImportReport(Output):
    kind: ImportKind
    dry_run: bool
    lines: int
    created: int
    updated: int
    unchanged: int
    created_categories: int = Field(description="of those that the lines only name")
    created_locations: int = Field(description="of those that the lines only name")
    ignored_columns: list[str] = Field(description="figures of an export, which follow from something else")
    error_count: int
    errors: list[FieldProblem] = Field(description="the first 1,000 at most")


class UnitGiven(UnitCreate):
    state: UnitState = UnitState.LENDABLE


class PartGiven(Input):
    kit: Sku
    sku: Sku
    quantity: Quantity


class LevelGiven(Input):
    sku: Sku
    on_hand: Stock


class UserGiven(Input):
    email: Email
    name: Name
    role: Role = Role.MEMBER
    active: bool = True


class ExportQuery(Input):
    """Each kind has filters of its own; one that a kind doesn't have is refused."""

    kind: ExportKind
    format: Format
    category_id: QueryId | None = Field(default=None, description="of items")
    tracking: Tracking | None = Field(default=None, description="of items")
    archived: bool = Field(default=False, description="of items and locations: those that are archived instead")
    item_id: QueryId | None = Field(default=None, description="of units, loans, stock levels and entries")
    location_id: QueryId | None = Field(default=None, description="of units, stock levels and entries")
    state: UnitState | None = Field(default=None, description="of units")
    on_loan: bool | None = Field(default=None, description="of units")
    user_id: QueryId | None = Field(default=None, description="of loans")
    open: bool | None = Field(default=None, description="of loans; true: not yet returned; false: returned")
    overdue: bool | None = Field(default=None, description="of loans; true: not yet returned though it was due")
    unit_id: QueryId | None = Field(default=None, description="of stock entries")
    loan_id: QueryId | None = Field(default=None, description="of stock entries")
    entry_kind: EntryKind | None = Field(default=None, description="of stock entries")
