"""Configuration: read in one place from the environment, validated once, and passed on."""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from inventory_api.build import installed_version

SERVICE_APPLICATION_NAME = "inventory-api"
_PREFIX = "INVENTORY_"
_CONFIG = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)


LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda given: given.upper() if isinstance(given, str) else given),
]


class SettingsError(Exception):
    """Everything that is wrong with the environment, one problem a line."""


def _postgresql(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith("postgresql://"):
        raise ValueError("must begin with postgresql://")
    return url


def _redis(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis:// or rediss://")
    return url


PostgresUrl = Annotated[SecretStr, AfterValidator(_postgresql)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]


class ServiceSettings(BaseSettings):
    model_config = _CONFIG

    environment: Literal["development", "testing", "staging", "production"] = "production"
    database_url: PostgresUrl
    redis_url: RedisUrl | None = None
    secret_key: SecretStr = Field(min_length=32)
    admin_email: str | None = Field(default=None, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")
    admin_password: SecretStr | None = Field(default=None, min_length=8, max_length=128)
    release: str = "none"
    revision: str = "none"
    version: str = Field(default_factory=installed_version)
    log_level: LogLevel = "INFO"
    access_token_seconds: int = Field(default=3600, ge=60, le=86_400)
    # Connections of one pod. Requests of one process share a core, so a few connections keep the database busy;
    # all pods together must stay below the server's max_connections.
    database_pool_size: int = Field(default=8, ge=1, le=100)
    database_pool_overflow: int = Field(default=4, ge=0, le=100)

    @model_validator(mode="after")
    def _admin_is_whole(self) -> Self:
        if (self.admin_email is None) != (self.admin_password is None):
            raise ValueError(f"{_PREFIX}ADMIN_EMAIL and {_PREFIX}ADMIN_PASSWORD go together")
        return self


class MigrationSettings(BaseSettings):
    model_config = _CONFIG

    migration_database_url: PostgresUrl
    service_role: str = Field(default="inventory_app", min_length=1, max_length=63)
    app_uid: str = Field(default="", max_length=200)
    release: str = "none"
    migration_timeout_seconds: float = Field(default=600, gt=0, le=86_400)
    migration_wait_seconds: float = Field(default=60, ge=0, le=86_400)
    termination_log: str | None = None
    log_level: LogLevel = "INFO"


class SmokeSettings(BaseSettings):
    model_config = _CONFIG

    admin_email: str
    admin_password: SecretStr


S = TypeVar("S", bound=BaseModel)


def read_settings(kind: type[S], **given: Any) -> S:
    """The settings from the environment; what is given wins. Raises SettingsError, which lists all that is wrong."""
    try:
        return kind(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: Any) -> str:
    name = "".join(_PREFIX + str(part).upper() for part in problem["loc"][:1])
    message = "is required" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
