from typing import Literal

from inventory_api.fields import Email, GivenPassword, Input, Output


class SignIn(Input):
    email: Email
    password: GivenPassword


class AccessToken(Output):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - its kind, not a secret
    expires_in: int
