"""Configuration: read in one place from the environment, validated once, and passed on."""

import os
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from inventory_api.build import installed_version
from inventory_api.fields import PASSWORD_LENGTH, Email
from inventory_api.secret_files import SecretFiles, UnusableFile
from inventory_api.setting_values import Hosts, Networks, Origins, RequestRate
from inventory_api.urls import MigrationDatabaseUrl, RedisUrl, SentryDsn, ServiceDatabaseUrl

SERVICE_APPLICATION_NAME = "inventory-api"
_PREFIX = "INVENTORY_"
_KEY_LENGTH = 32
_MOST_KEYS = 5
# The ingress of the chart takes a little more.
MAX_IMPORT_BYTES = 32 * 1024 * 1024
_DOTENV = ".env"
# The environment itself must say so: a file that lies about must not turn a production service into another one, or
# slip a setting under those that its operator sees.
_READS_DOTENV = frozenset({"development", "testing"})
_CONFIG = SettingsConfigDict(
    env_prefix=_PREFIX,
    env_ignore_empty=True,
    # A Secret made with echo ends with a line break.
    str_strip_whitespace=True,
    extra="ignore",
    hide_input_in_errors=True,
)

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda given: given.upper() if isinstance(given, str) else given),
]


class SettingsError(Exception):
    """Everything that is wrong with the environment, one problem a line."""


def _is_given(half: Any) -> Any:
    if half == "":
        raise ValueError(f"is required: {_PREFIX}ADMIN_EMAIL and {_PREFIX}ADMIN_PASSWORD go together")
    return half


def _keys(given: SecretStr) -> SecretStr:
    keys = given.get_secret_value().replace(",", " ").split()
    if not 1 <= len(keys) <= _MOST_KEYS or any(len(key) < _KEY_LENGTH for key in keys):
        raise ValueError(f"must be up to {_MOST_KEYS} keys of {_KEY_LENGTH} characters or more, with spaces between")
    return SecretStr(" ".join(keys))


class _FromEnvironment(BaseSettings):
    """Settings from the environment, where secrets may also come from files, and others from `.env` in development."""

    model_config = _CONFIG

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = SecretFiles(settings_cls, os.environ)
        if os.environ.get(f"{_PREFIX}ENVIRONMENT", "").strip() not in _READS_DOTENV:
            return init_settings, files, env_settings
        return init_settings, files, env_settings, DotEnvSettingsSource(settings_cls, env_file=_DOTENV)

    @field_validator("*", mode="before")
    @classmethod
    def _comes_from_a_usable_file(cls, given: Any) -> Any:
        if isinstance(given, UnusableFile):
            raise ValueError(given.why)
        return given


class ServiceSettings(_FromEnvironment):
    environment: Literal["development", "testing", "staging", "production"] = "production"
    database_url: ServiceDatabaseUrl
    redis_url: RedisUrl | None = None
    secret_key: SecretStr = Field(min_length=_KEY_LENGTH)
    # Keys besides it that tokens may be signed with: those before it, or the next.
    previous_secret_keys: Annotated[SecretStr, AfterValidator(_keys)] | None = None
    admin_email: Annotated[Email, BeforeValidator(_is_given)] | None = None
    admin_password: Annotated[SecretStr, PASSWORD_LENGTH, BeforeValidator(_is_given)] | None = None
    release: str = "none"
    revision: str = "none"
    version: str = Field(default_factory=installed_version)
    log_level: LogLevel = "INFO"
    access_token_seconds: int = Field(default=3600, ge=60, le=86_400)
    # For so long another pod may go on believing a token that was ended here; 0 has each request ask the database.
    caller_known_seconds: float = Field(default=1, ge=0, le=10)
    # Who doesn't call for so long signs in again; and everybody does after the longest time of a session.
    refresh_token_seconds: int = Field(default=14 * 86_400, ge=60, le=366 * 86_400)
    session_max_seconds: int = Field(default=90 * 86_400, ge=60, le=3660 * 86_400)
    # For so long a refresh token may be sent again, because its answer was lost or another tab was first. 0: never.
    refresh_grace_seconds: int = Field(default=30, ge=0, le=300)
    api_token_max_days: int = Field(default=366, ge=1, le=3660)
    # Sessions and API tokens that are over; security events.
    credentials_kept_days: int = Field(default=30, ge=1, le=3660)
    security_events_kept_days: int = Field(default=90, ge=1, le=3660)
    # Without one, for ever. The database keeps the last 30 days whatever is asked for.
    audit_kept_days: int | None = Field(default=None, ge=30, le=36_500)
    # No limit unless there is one.
    loan_max_days: int | None = Field(default=None, ge=1, le=36_500)
    loan_max_renewals: int = Field(default=2, ge=0, le=1000)
    reservation_max_days_ahead: int = Field(default=180, ge=1, le=3650)
    reservation_max_days: int = Field(default=31, ge=1, le=3650)
    # So long before its start it is set aside, where it is there and nobody else has it for that time.
    reservation_lead_minutes: int = Field(default=60, ge=0, le=43_200)
    # So long it is kept for whoever should come for it.
    reservation_hold_hours: int = Field(default=48, ge=1, le=8760)
    reservations_per_person: int = Field(default=20, ge=1, le=10_000)
    reservation_seconds_between_looks: float = Field(default=5, ge=0.1, le=3600)
    # Connections of one pod. Requests of one process share a core, so a few connections keep the database busy;
    # all pods together must stay below the server's max_connections.
    database_pool_size: int = Field(default=6, ge=1, le=100)
    database_pool_overflow: int = Field(default=2, ge=0, le=100)
    # Connections for single statements that only read, which is what most requests need.
    database_read_pool_size: int = Field(default=4, ge=1, le=100)
    # "transaction" behind PgBouncer in that mode, or what is like it.
    database_pooler: Literal["none", "transaction"] = "none"
    database_connect_seconds: float = Field(default=5, ge=0.1, le=60)
    database_pool_wait_seconds: float = Field(default=5, ge=0.1, le=60)
    # Before a firewall or a load balancer forgets the connection, and after a failover everything moves within it.
    database_recycle_seconds: int = Field(default=1800, ge=10, le=86_400)
    database_statement_seconds: float = Field(default=10, ge=0.1, le=3600)
    database_lock_seconds: float = Field(default=5, ge=0.1, le=3600)
    database_idle_transaction_seconds: float = Field(default=15, ge=1, le=3600)
    allowed_hosts: Hosts = ("*",)
    cors_origins: Origins = ()
    # Whose X-Forwarded-For and X-Forwarded-Proto are believed.
    trusted_proxies: Networks = ()
    # For each user, or each address while it isn't known who calls; sign-in always by address. A page of a user
    # interface makes a few dozen requests, and a script that books line by line some thirty in a second.
    rate_limits: bool = True
    rate_limit_sign_in: RequestRate = "60/minute"
    rate_limit_reads: RequestRate = "3000/minute"
    rate_limit_writes: RequestRate = "2000/minute"
    rate_limit_reports: RequestRate = "120/minute"
    # Above what one core works on at once; the rest would wait for it in memory instead of at the caller.
    max_requests_in_flight: int = Field(default=128, ge=8, le=10_000)
    # The event loop's delay that is put up with for a second, before fewer requests are let in.
    max_delay_seconds: float = Field(default=0.25, ge=0.01, le=60)
    request_seconds: float = Field(default=30, ge=0.1, le=3600)
    export_seconds: float = Field(default=900, ge=0.1, le=86_400)
    import_seconds: float = Field(default=300, ge=0.1, le=86_400)
    # Of one file. Lines are named in memory while it is read, some 300 bytes each.
    import_max_bytes: int = Field(default=MAX_IMPORT_BYTES, ge=1024, le=1024**3)
    import_max_lines: int = Field(default=200_000, ge=1, le=10_000_000)
    import_max_line_bytes: int = Field(default=64 * 1024, ge=1024, le=128 * 1024)
    # In one pod at once; each takes one of its connections.
    import_slots: int = Field(default=1, ge=1, le=100)
    export_slots: int = Field(default=2, ge=1, le=100)

    # Where traces and unexpected errors go; nowhere, and at no cost, unless set.
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^/\s]+", max_length=2000)] | None = None
    trace_sample_ratio: float = Field(default=0.01, ge=0, le=1)
    # Whose `traceparent` decides what is kept. Apart from the proxies: many pass on what anybody has written there.
    trace_parents: Networks = ()
    sentry_dsn: SentryDsn | None = None

    def previous_keys(self) -> list[str]:
        return self.previous_secret_keys.get_secret_value().split() if self.previous_secret_keys else []

    @model_validator(mode="before")
    @classmethod
    def _admin_is_whole(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Half an admin lacks a field as any other that is missing, and so is listed with all else that is wrong."""
        if "admin_email" in given or "admin_password" in given:
            return {"admin_email": "", "admin_password": "", **given}
        return given


class MigrationSettings(_FromEnvironment):
    migration_database_url: MigrationDatabaseUrl
    service_role: str = Field(default="inventory_app", min_length=1, max_length=63)
    app_uid: str = Field(default="", max_length=200)
    release: str = "none"
    migration_timeout_seconds: float = Field(default=600, gt=0, le=86_400)
    migration_wait_seconds: float = Field(default=60, ge=0, le=86_400)
    termination_log: str | None = None
    log_level: LogLevel = "INFO"


S = TypeVar("S", bound=BaseModel)


def read_settings(kind: type[S], **given: Any) -> S:
    """The settings from the environment; what is given wins. Raises SettingsError, which lists all that is wrong."""
    try:
        return kind(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(problem) for problem in error.errors())) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{_DOTENV}: cannot be read: {error}") from None


def _sentence(problem: Any) -> str:
    name = "".join(_PREFIX + str(part).upper() for part in problem["loc"][:1])
    message = "is required" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
