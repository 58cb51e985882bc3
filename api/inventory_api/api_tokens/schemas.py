from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from inventory_api.fields import Input, Moment, Name, Output, QueryId, Shown
from inventory_api.pages import PageQuery
from inventory_api.users.permissions import Scope


def _without_repetition(scopes: list[Scope]) -> list[Scope]:
    return sorted(set(scopes))


class ApiTokenCreate(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "label printer", "scopes": ["read"], "expires_at": "2030-01-01T12:00:00Z"}]
        }
    )

    name: Name = Field(description="what it is for, as in `label printer`")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope)), AfterValidator(_without_repetition)]
    expires_at: Moment | None = Field(default=None, description="in 90 days if left out")


class ApiTokenQuery(PageQuery):
    user_id: QueryId | None = Field(default=None, description="whose; the caller's own if left out")
    everybodys: bool = Field(default=False, description="those of all users, for admins")


class ApiTokenShown(Output):
    id: int
    user_id: int
    name: str
    start: str = Field(description="how the token begins")
    scopes: list[Scope]
    created_at: Shown
    expires_at: Shown
    last_used_at: Shown | None = Field(description="to the minute")
    revoked_at: Shown | None


class NewApiToken(ApiTokenShown):
    token: str = Field(description="shown now and never again")
