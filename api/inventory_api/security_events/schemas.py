from pydantic import Field

from inventory_api.fields import Moment, Output, QueryId, Shown
from inventory_api.pages import PageQuery
from inventory_api.security import SecurityEventKind


class SecurityEventQuery(PageQuery):
    kind: SecurityEventKind | None = None
    user_id: QueryId | None = Field(default=None, description="whose account it is about")
    since: Moment | None = Field(default=None, description="at this time or later")
    until: Moment | None = Field(default=None, description="before this time")


class SecurityEventShown(Output):
    id: int
    at: Shown
    kind: str
    user_id: int | None = Field(description="whose account it is about; null if it is nobody's")
    request_id: str
    address: str = Field(description="where the request came from")
    detail: str
