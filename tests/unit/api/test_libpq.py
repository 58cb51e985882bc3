"""The parameters that a database URL may have, and what the service's driver makes of them."""

import os
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args
from inventory_api.libpq import asyncpg_arguments
from inventory_api.settings import MigrationSettings, ServiceSettings, SettingsError, read_settings

from tests.certificates import Authority


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("INVENTORY_", "PG"))]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def service_problem(**parameters: str | Path) -> str:
    return _problem(ServiceSettings, _url(parameters))


def migration_problem(**parameters: str | Path) -> str:
    return _problem(MigrationSettings, _url(parameters))


def _url(parameters: dict[str, Any]) -> str:
    return f"postgresql://app:hush@db/inventory?{urlencode(parameters)}"


def _problem(kind: type[ServiceSettings | MigrationSettings], url: str) -> str:
    """What is wrong with it, or nothing."""
    given = {"database_url": url, "secret_key": "k" * 32, "migration_database_url": url}
    said = ""
    try:
        read_settings(kind, **given)
    except SettingsError as error:
        said = str(error)
    assert "hush" not in said
    return said


def driver_arguments(**parameters: str | Path) -> tuple[Any, dict[str, Any]]:
    """As asyncpg itself parses what it is given: its parameters of a connection, and the arguments."""
    arguments = asyncpg_arguments({name: str(value) for name, value in parameters.items()})
    ours = {"timeout", "server_settings"}
    names = ("host", "port", "user", "password", "passfile", "database", "ssl", "service", "servicefile", "direct_tls")
    nothing = dict.fromkeys([*names, "dsn", "server_settings", "target_session_attrs", "krbsrvname", "gsslib"])
    given = {name: value for name, value in arguments.items() if name not in ours}
    _, parsed = _parse_connect_dsn_and_args(**nothing | {"host": "db", "user": "app"} | given)
    return parsed, arguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("application_name", "mine"),
        ("channel_binding", "require"),
        ("client_encoding", "latin1"),
        ("connect_timeout", "0"),
        ("connect_timeout", "3600"),
        ("connect_timeout", "soon"),
        ("gssencmode", "require"),
        ("hostaddr", "10.0.0.1"),
        ("keepalives_idle", "10"),
        ("load_balance_hosts", "random"),
        ("pgbouncer", "true"),
        ("service", "inventory"),
        ("ssl_min_protocol_version", "SSLv3"),
        ("sslmode", "sometimes"),
        ("sslmode", "verify-full"),
        ("sslrootcert", "system"),
        ("target_session_attrs", "standby"),
        ("statement_cache_size", "0"),
    ],
)
def test_what_the_services_driver_cannot_do_is_refused_by_name(name: str, value: str) -> None:
    said = service_problem(**{name: value})

    assert said.startswith("INVENTORY_DATABASE_URL: has ")
    assert name in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("application_name", "mine"),
        ("pgbouncer", "true"),
        ("sslmode", "verify-ca"),
        ("target_session_attrs", "standby"),
    ],
)
def test_what_migrations_cannot_do_is_refused_by_name(name: str, value: str) -> None:
    said = migration_problem(**{name: value})

    assert said.startswith("INVENTORY_MIGRATION_DATABASE_URL: has ")
    assert name in said


def test_a_parameter_that_comes_twice_is_refused() -> None:
    url = "postgresql://app:hush@db/inventory?sslmode=require&sslmode=disable"

    assert "sslmode more than once" in _problem(ServiceSettings, url)
    assert "sslmode more than once" in _problem(MigrationSettings, url)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"sslmode": "require"},
        {"channel_binding": "prefer", "gssencmode": "disable", "client_encoding": "UTF8"},
        {"target_session_attrs": "read-write", "fallback_application_name": "x"},
        {"connect_timeout": "10", "options": "-c search_path=stock"},
        {"user": "app", "password": "hush", "dbname": "inventory", "passfile": "/nothing"},
    ],
)
def test_what_both_drivers_can_do_is_taken(parameters: dict[str, str]) -> None:
    assert (service_problem(**parameters), migration_problem(**parameters)) == ("", "")


def test_keepalives_are_for_migrations_alone() -> None:
    assert migration_problem(keepalives="1", keepalives_idle="5", tcp_user_timeout="1000") == ""


def test_limits_names_and_options_arrive_at_the_driver() -> None:
    parsed, arguments = driver_arguments(
        connect_timeout="7", options="-c search_path=stock", user="me", password="p&=/", dbname="stock"
    )

    assert arguments["timeout"] == 7
    assert arguments["server_settings"] == {"options": "-c search_path=stock"}
    assert (parsed.user, parsed.password, parsed.database) == ("me", "p&=/", "stock")


@pytest.mark.parametrize(
    ("mode", "checks_the_name", "verifies"),
    [("require", False, True), ("verify-ca", False, True), ("verify-full", True, True)],
)
def test_the_driver_verifies_the_server_by_the_authority_that_is_named(
    authority: Authority, mode: str, checks_the_name: bool, verifies: bool
) -> None:
    root = authority.own.certificate
    assert service_problem(sslmode=mode, sslrootcert=root) == migration_problem(sslmode=mode, sslrootcert=root) == ""

    parsed, _ = driver_arguments(sslmode=mode, sslrootcert=root, ssl_min_protocol_version="TLSv1.3")

    assert parsed.ssl.check_hostname is checks_the_name
    assert (parsed.ssl.verify_mode is ssl.CERT_REQUIRED) is verifies
    assert [found["subject"] for found in parsed.ssl.get_ca_certs()] == [((("commonName", "authority"),),)]
    assert parsed.ssl.minimum_version is ssl.TLSVersion.TLSv1_3


def test_without_sslmode_the_driver_takes_tls_where_there_is_some() -> None:
    parsed, _ = driver_arguments()

    assert (parsed.sslmode.name, parsed.ssl.verify_mode) == ("prefer", ssl.CERT_NONE)


@pytest.mark.parametrize("problem_with", [service_problem, migration_problem])
def test_a_certificate_that_cannot_be_used_is_named_at_the_start(
    authority: Authority, tmp_path: Path, problem_with: Any
) -> None:
    client, other = authority.issue("client"), authority.issue("other")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    root, missing = authority.own.certificate, tmp_path / "missing.pem"

    said = [
        problem_with(sslmode="verify-full", sslrootcert=missing),
        problem_with(sslmode="verify-full", sslrootcert=nonsense),
        problem_with(sslmode="prefer", sslrootcert=root),
        problem_with(sslrootcert=root),
        problem_with(sslmode="require", sslcert=client.certificate),
        problem_with(sslmode="require", sslcert=client.certificate, sslkey=missing),
        problem_with(sslmode="require", sslcert=client.certificate, sslkey=other.key),
        problem_with(sslmode="require", sslcrl=missing),
    ]

    reasons = ["No such file", "not usable", "verify-full", "verify-full", "go together", "No such file", "not usable"]
    for sentence, reason in zip(said, [*reasons, "No such file"], strict=True):
        assert reason in sentence
    assert problem_with(sslmode="require", sslcert=client.certificate, sslkey=client.key) == ""


def test_a_key_that_needs_a_password_is_not_asked_for_at_the_terminal(authority: Authority, tmp_path: Path) -> None:
    pair, locked = authority.issue("locked"), tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:open", "-in", pair.key, "-out", locked],
        check=True,
        capture_output=True,
    )
    given: dict[str, str | Path] = {"sslmode": "require", "sslcert": pair.certificate, "sslkey": locked}

    assert "sslkey" in service_problem(**given)
    assert service_problem(**given, sslpassword="open") == ""
