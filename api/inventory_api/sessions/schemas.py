from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from inventory_api.fields import NOT_BLANK, WITHOUT_NUL, Input, Output, Shown


class Refresh(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"refresh_token": "invr_…"}]})

    refresh_token: Annotated[str, Field(min_length=1, max_length=200, pattern=NOT_BLANK), WITHOUT_NUL]


class AccessToken(Output):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - its kind, not a secret
    expires_in: int = Field(description="seconds")
    refresh_token: str = Field(description="for `POST /api/v1/auth/refresh`, once")
    refresh_expires_in: int = Field(description="seconds")


class SessionShown(Output):
    id: int
    device: str = Field(description="what the User-Agent said at sign-in")
    created_at: Shown
    used_at: Shown = Field(description="when it was begun or refreshed last")
    expires_at: Shown
    current: bool = Field(description="whether it is the one that asks")
