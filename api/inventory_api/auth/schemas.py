from pydantic import ConfigDict

from inventory_api.fields import Email, GivenPassword, Input


class SignIn(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "admin@example.com", "password": "a long password"}]}
    )

    email: Email
    password: GivenPassword
