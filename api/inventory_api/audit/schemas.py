from typing import Annotated, Any

from pydantic import Field

from inventory_api.fields import NOT_BLANK, WITHOUT_NUL, Moment, Output, QueryId, Shown
from inventory_api.pages import PageQuery

Word = Annotated[str, Field(min_length=1, max_length=64, pattern=NOT_BLANK), WITHOUT_NUL]


class AuditQuery(PageQuery):
    subject: Word | None = Field(default=None, description="what kind of thing was changed, as in `item`")
    subject_id: QueryId | None = None
    actor_id: QueryId | None = Field(default=None, description="who changed it")
    action: Word | None = Field(default=None, description="what was done, as in `create` or `change`")
    since: Moment | None = Field(default=None, description="at this time or later")
    until: Moment | None = Field(default=None, description="before this time")


class AuditEventShown(Output):
    id: int
    at: Shown
    actor_id: int | None = Field(description="null: nobody, but a command or the service by itself")
    request_id: str
    action: str
    subject: str
    subject_id: int
    before: dict[str, Any] | None = Field(description="the fields that changed; null for what was added")
    after: dict[str, Any] | None = Field(description="the same after it; null for what was removed")
