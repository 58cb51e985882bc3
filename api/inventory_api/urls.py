"""The stores' addresses, as the settings take them: parsed at the start, so that a wrong one is named and not tried."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from pydantic import AfterValidator, SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from inventory_api.libpq import check_migration_parameters, check_service_parameters

_POSTGRESQL_PORT = 5432
# As SQLAlchemy splits it: a password may hold all but an @.
_POSTGRESQL_URL = re.compile(r"(postgresql://(?:[^@]*@)?)([^/?]*)([^?]*)\??(.*)", re.DOTALL)


def _service_database(url: SecretStr) -> SecretStr:
    return _postgresql(url, check_service_parameters)


def _migration_database(url: SecretStr) -> SecretStr:
    return _postgresql(url, check_migration_parameters)


def _postgresql(url: SecretStr, check_parameters: Callable[[Mapping[str, Any]], None]) -> SecretStr:
    given = url.get_secret_value()
    if not given.startswith("postgresql://"):
        raise ValueError("must begin with postgresql://")
    try:
        address = _with_hosts_apart(given)
        parsed = make_url(address).set(drivername="postgresql+asyncpg")
        parsed.get_dialect()().create_connect_args(parsed)
        if "@" in (parsed.host or ""):
            raise ValueError("the end of a password that is not percent-encoded")
    except (ArgumentError, ValueError):
        # A parser's own words may hold a part of the password.
        raise ValueError(
            "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE: "
            "host or port is wrong, or the password is not percent-encoded"
        ) from None
    check_parameters(parsed.query)
    return SecretStr(address)


def _with_hosts_apart(url: str) -> str:
    """libpq's several hosts, HOST:PORT,HOST:PORT, in the way that all drivers take: as lists in the query.

    Raises ValueError for what is no host or port.
    """
    parts = _POSTGRESQL_URL.fullmatch(url)
    assert parts is not None  # noqa: S101 - it begins with postgresql://, and the rest matches all
    before, together, path, query = parts.groups()
    hosts = [urlsplit(f"//{host}") for host in together.split(",")]
    ports = [host.port or _POSTGRESQL_PORT for host in hosts]
    if len(hosts) == 1:
        return url
    names = [host.hostname or "" for host in hosts]
    if not all(names):
        raise ValueError("a host has no name")
    several = urlencode({"host": ",".join(names), "port": ",".join(map(str, ports))})
    return f"{before}{path}?{several}" + (f"&{query}" if query else "")


def _redis(url: SecretStr) -> SecretStr:
    given = url.get_secret_value()
    if not given.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis:// or rediss://")
    # Not at the top, because migrations have settings too, but no Redis.
    from redis.asyncio import ConnectionPool
    from redis.exceptions import RedisError

    try:
        ConnectionPool.from_url(given).make_connection()  # type: ignore[no-untyped-call]
    except (RedisError, TypeError, ValueError):
        raise ValueError(
            "must be redis://:PASSWORD@HOST:PORT/NUMBER: the host, the port or a parameter is wrong"
        ) from None
    return url


def _sentry(dsn: SecretStr) -> SecretStr:
    try:
        parsed = urlsplit(dsn.get_secret_value())
        complete = parsed.scheme in ("http", "https") and parsed.username and parsed.hostname
        project = parsed.path.rpartition("/")[2]
        _ = parsed.port
    except ValueError:
        complete, project = None, ""
    if not (complete and project.isascii() and project.isdigit()):
        raise ValueError("must be https://KEY@HOST/PROJECT, the DSN that Sentry shows for the project")
    return dsn


ServiceDatabaseUrl = Annotated[SecretStr, AfterValidator(_service_database)]
MigrationDatabaseUrl = Annotated[SecretStr, AfterValidator(_migration_database)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]
SentryDsn = Annotated[SecretStr, AfterValidator(_sentry)]
