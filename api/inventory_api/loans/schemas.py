from datetime import datetime

from pydantic import Field

from inventory_api.fields import Id, Input, Moment, Output, Quantity, QueryId, Shown
from inventory_api.pages import PageQuery


class CheckOut(Input):
    item_id: Id
    user_id: Id | None = Field(default=None, description="who borrows; the caller if left out")
    quantity: Quantity
    due_at: Moment


class LoanQuery(PageQuery):
    item_id: QueryId | None = None
    user_id: QueryId | None = None
    open: bool | None = Field(default=None, description="true: not yet returned; false: returned")


class LoanShown(Output):
    id: int
    item_id: int
    user_id: int
    quantity: int
    lent_by: int
    lent_at: Shown
    due_at: Shown
    returned_at: datetime | None
