from typing import Annotated

from pydantic import ConfigDict, Field

from inventory_api.fields import (
    NOT_BLANK,
    WITHOUT_NUL,
    Email,
    GivenPassword,
    Input,
    Name,
    NewPassword,
    Output,
    Shown,
)
from inventory_api.pages import PageQuery
from inventory_api.users.models import Role


class UserCreate(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "ada@example.com", "name": "Ada", "role": "member", "password": "a long password"}]
        }
    )

    email: Email
    name: Name
    role: Role = Role.MEMBER
    password: NewPassword


class UserChange(Input):
    """What is left out stays as it is; a default factory stands for that, so that null is refused."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "staff"}, {"active": False}]})

    name: Name = Field(default_factory=str)
    email: Email = Field(default_factory=str)
    role: Role = Field(default_factory=lambda: Role.MEMBER)
    active: bool = Field(default_factory=bool, strict=True, description="false: may not sign in, and all they had ends")


class PasswordChange(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"current_password": "a long password", "new_password": "a longer password"}]}
    )

    current_password: GivenPassword
    new_password: NewPassword


class PasswordReset(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"new_password": "a longer password"}]})

    new_password: NewPassword


class UserQuery(PageQuery):
    role: Role | None = None
    active: bool | None = None
    q: Annotated[str, Field(min_length=1, max_length=100, pattern=NOT_BLANK), WITHOUT_NUL] | None = Field(
        default=None, description="is in the name or the address, in any case"
    )


class UserShown(Output):
    id: int
    email: str
    name: str
    role: Role
    active: bool
    version: int = Field(description="the ETag, without its quotes")
    created_at: Shown
    updated_at: Shown
