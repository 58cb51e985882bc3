"""A database URL's parameters are libpq's; asyncpg, the service's driver, takes them under other names or not at all.

What the driver can't do is refused by name at the start: it would fail at the first connection, and the pod would wait
for a database that is there.
"""

import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

_TLS = frozenset(
    {
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslcrl",
        "sslnegotiation",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
    }
)
# SQLAlchemy reads these two, which may list several hosts.
_SEVERAL = frozenset({"host", "port"})
# asyncpg's arguments for who connects to what.
_NAMES = {"user": "user", "password": "password", "dbname": "database", "passfile": "passfile"}
# Parameters of which the driver does one thing only, which these values ask for.
_ONE_WAY = {
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"utf8", "utf-8", "auto"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "target_session_attrs": frozenset({"any", "primary", "read-write"}),
}
# The service's own application_name is set, so this one is never looked at.
_UNUSED = frozenset({"fallback_application_name"})
_SERVICE = _TLS | _SEVERAL | _NAMES.keys() | _ONE_WAY.keys() | _UNUSED | {"connect_timeout", "options"}
_VERIFYING = frozenset({"require", "verify-ca", "verify-full"})
_TLS_VERSIONS = frozenset({"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"})
_TLS_VALUES = {
    "sslmode": _VERIFYING | {"disable", "allow", "prefer"},
    "sslnegotiation": frozenset({"postgres", "direct"}),
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
}
_CONNECT_SECONDS = range(1, 61)


def check_service_parameters(query: Mapping[str, Any]) -> None:
    """Raises ValueError for what asyncpg can't do, or what would keep it from ever connecting."""
    _check_all(query)
    for name, value in query.items():
        if name not in _SERVICE:
            known = ", ".join(sorted(_SERVICE))
            raise ValueError(f"has the parameter {name}, which the service's driver does not know; it knows {known}")
        if name in _ONE_WAY and value.lower() not in _ONE_WAY[name]:
            raise ValueError(f"has a {name} that the service can't have; it can have {_choice(_ONE_WAY[name])}")
    if not _is_within(query.get("connect_timeout", "5"), _CONNECT_SECONDS):
        raise ValueError("has a connect_timeout that is not a number of seconds from 1 to 60")
    if query.get("sslrootcert") == "system":
        raise ValueError(
            "has sslrootcert=system, which the service's driver does not know: "
            "name the file, as /etc/ssl/certs/ca-certificates.crt in the image"
        )
    _check_tls(query)


def check_migration_parameters(query: Mapping[str, Any]) -> None:
    """Raises ValueError for what libpq does not know, or what migrations set themselves."""
    # Not at the top, because the service's settings are here too, and it has no use for this driver.
    from psycopg2 import Error
    from psycopg2.extensions import parse_dsn

    _check_all(query)
    for name in query:
        try:
            parse_dsn(f"postgresql:///?{urlencode({name: 1})}")
        except Error:
            raise ValueError(f"has the parameter {name}, which PostgreSQL's client library does not know") from None
    if query.get("target_session_attrs", "read-write") not in _ONE_WAY["target_session_attrs"]:
        raise ValueError("has target_session_attrs for a server that only reads, and migrations write")
    _check_tls(query)


def asyncpg_arguments(query: Mapping[str, Any]) -> dict[str, Any]:
    """What of these parameters asyncpg takes as arguments; host and port are left to SQLAlchemy.

    `server_settings` is among them if there are `options`. TLS goes as a DSN: only there does asyncpg know files by
    their names, and it reads them for each connection, so that a certificate may be renewed under a running service.
    """
    arguments: dict[str, Any] = {}
    tls = {name: value for name, value in query.items() if name in _TLS}
    if tls:
        arguments["dsn"] = f"postgresql://?{urlencode(tls)}"
    for name, argument in _NAMES.items():
        if name in query:
            arguments[argument] = query[name]
    if "connect_timeout" in query:
        arguments["timeout"] = float(query["connect_timeout"])
    if "options" in query:
        arguments["server_settings"] = {"options": query["options"]}
    return arguments


def _check_all(query: Mapping[str, Any]) -> None:
    if "application_name" in query:
        raise ValueError("has an application_name, which is not free: migrations tell releases apart by it")
    for name, value in query.items():
        if name not in _SEVERAL and not isinstance(value, str):
            raise ValueError(f"has the parameter {name} more than once")


def _check_tls(query: Mapping[str, Any]) -> None:
    for name, values in _TLS_VALUES.items():
        if name in query and query[name] not in values:
            raise ValueError(f"has an {name} that there is not; there is {_choice(values)}")
    mode, root = query.get("sslmode", "prefer"), query.get("sslrootcert")
    if mode.startswith("verify") and not root:
        raise ValueError(f"has sslmode={mode}, which needs sslrootcert: the file of the authority's certificate")
    if root and mode not in _VERIFYING:
        raise ValueError(f"has an sslrootcert that sslmode={mode} does not look at: say sslmode=verify-full")
    if ("sslcert" in query) != ("sslkey" in query):
        raise ValueError("has one of sslcert and sslkey, which go together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if root and root != "system":
        _load("sslrootcert", root, lambda: context.load_verify_locations(cafile=root))
    if "sslcrl" in query:
        _load("sslcrl", query["sslcrl"], lambda: context.load_verify_locations(cafile=query["sslcrl"]))
    if "sslcert" in query:
        # Without a password, OpenSSL would ask for one at the terminal.
        pair, password = (query["sslcert"], query["sslkey"]), query.get("sslpassword", "")
        _load("sslcert or sslkey", " and ".join(pair), lambda: context.load_cert_chain(*pair, password))


def _load(parameter: str, what: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        raise ValueError(f"has the {parameter} {what}, which is not usable: {error.reason or error}") from None
    except OSError as error:
        raise ValueError(f"has the {parameter} {what}, which cannot be read: {error.strerror}") from None


def _is_within(value: str, seconds: range) -> bool:
    return value.isascii() and value.isdigit() and int(value) in seconds


def _choice(values: Iterable[str]) -> str:
    return ", ".join(sorted(values))
