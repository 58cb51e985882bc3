from inventory_api.fields import Id, Input, Name, Output, QueryId, Shown, Sku, Stock
from inventory_api.items.models import Tracking
from inventory_api.pages import PageQuery


class ItemCreate(Input):
    name: Name
    sku: Sku
    quantity: Stock
    category_id: Id | None = None
    tracking: Tracking = Tracking.QUANTITY


class ItemQuery(PageQuery):
    category_id: QueryId | None = None


class ItemShown(Output):
    id: int
    name: str
    sku: str
    quantity: int
    on_loan: int
    available: int
    category_id: int | None
    created_at: Shown
