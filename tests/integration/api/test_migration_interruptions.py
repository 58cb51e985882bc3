"""Migrations that wait, lose their connection, are killed, or take too long."""

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from inventory_api.migrations.revisions import read_image
from inventory_api.migrations.session import InterruptedRunError, Interruption

from tests.integration.api.migrating import (
    ADD_COLUMN,
    CONTRACTS,
    EXPANDS,
    OF_THE_MIGRATION,
    SESSION_SETTINGS,
    WAIT_FOR_LOCK,
    columns,
    migration_waits_for,
    started_command,
    steady_queries,
    waits_for_the_lock,
    when_a_migration_commits,
)
from tests.integration.api.overlays import Overlay
from tests.integration.conditions import PATIENCE_SECONDS, eventually
from tests.integration.stores import Postgres


def test_an_index_is_built_concurrently_and_again_after_a_broken_attempt(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    postgres.execute("INSERT INTO items (name, sku, quantity) VALUES ('a', '1', 1), ('a', '2', 1)", database=database)
    build = "create_index_concurrently('items_name_key', 'items', '(name)', unique=True)"
    image = overlay.expand("9001", build).image()
    broken = postgres.expand(database, image)
    postgres.execute("UPDATE items SET name = sku", database=database)

    mended = postgres.expand(database, image)

    assert broken.outcome == "failed"
    assert mended.applied == ("9001",)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_name_key'::regclass"
    assert postgres.execute(valid, database=database) == [(True,)]


def test_a_connection_that_is_lost_in_mid_migration_is_no_failure(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    overlay.expand("9001", f"{ADD_COLUMN}; op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")

    result = postgres.expand(database, overlay.image())

    assert (result.outcome, result.exit_code) == ("waiting", 75)
    assert "shelf" not in columns(postgres, database, "items")


def test_a_connection_that_is_lost_while_an_index_is_built_is_no_failure(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    image = overlay.expand("9001", "create_index_concurrently('items_note_idx', 'items', '(description)')").image()
    with (
        ThreadPoolExecutor() as threads,
        postgres.connected(database) as observer,
        postgres.connected(database) as writer,
    ):
        writer.execute("BEGIN")
        writer.execute("INSERT INTO items (name, sku, quantity) VALUES ('a', '1', 1)")
        run = threads.submit(postgres.expand, database, image)
        eventually(lambda: migration_waits_for(observer, "virtualxid"))
        observer.execute(f"SELECT pg_terminate_backend(pid) {OF_THE_MIGRATION}")
        result = run.result(PATIENCE_SECONDS)

    assert (result.outcome, result.exit_code) == ("waiting", 75)
    assert result.error == "migration 9001 lost its connection: server closed the connection unexpectedly"
    assert postgres.expand(database, image).applied == ("9001",)


def test_a_migration_that_waits_for_a_backup_lets_the_service_through_and_gets_its_turn(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    image = overlay.expand("9001", ADD_COLUMN).image()
    with (
        ThreadPoolExecutor() as threads,
        steady_queries(postgres, database) as seconds,
        postgres.connected(database) as observer,
        postgres.connected(database) as backup,
    ):
        backup.execute("BEGIN")
        backup.execute("LOCK TABLE items IN ACCESS SHARE MODE")
        run = threads.submit(postgres.expand, database, image)
        eventually(lambda: migration_waits_for(observer, "relation"))
        eventually(lambda: not migration_waits_for(observer, "relation"))
        eventually(lambda: migration_waits_for(observer, "relation"))
        backup.execute("ROLLBACK")

        assert run.result(PATIENCE_SECONDS).applied == ("9001",)
    assert max(seconds) < 1.5


def test_a_migration_that_never_gets_its_lock_says_for_what_it_waited_and_who_held_it(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    overlay.expand("9001", ADD_COLUMN)
    with (
        postgres.connected(database, application_name="pg_dump") as backup,
        postgres.connected(database, application_name="elsewhere") as other,
    ):
        for cursor, table in ((backup, "items"), (other, "users")):
            cursor.execute("BEGIN")
            cursor.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
        holder = f"pg_dump (pid {backup.connection.info.backend_pid})"
        with started_command(postgres, database, overlay, INVENTORY_MIGRATION_TIMEOUT_SECONDS="2.5") as process:
            output, logs = process.communicate(timeout=PATIENCE_SECONDS)

    result = json.loads(output)
    waits = [line for line in map(json.loads, logs.splitlines()) if "did not get its lock" in line["event"]]
    assert (result["result"], process.returncode) == ("failed", 1)
    assert result["error"] == (
        "migration 9001 failed: migrating took longer than 2.5 s; attempts that never got their lock: 1, for "
        f"`ALTER TABLE items ADD COLUMN shelf text`, held by {holder}"
    )
    assert [(line["attempt"], line["statement"], line["held_by"]) for line in waits] == [
        (1, "ALTER TABLE items ADD COLUMN shelf text", [holder])
    ]


def test_the_server_is_told_to_give_up_a_dead_client_soon(postgres: Postgres, database: str, overlay: Overlay) -> None:
    image = overlay.expand("9001", f"op.execute({SESSION_SETTINGS!r})").image()
    postgres.expand(database, image)

    settings = dict(postgres.execute("SELECT name, reset_val FROM session_settings", database=database))

    assert settings["tcp_keepalives_idle"] == "10"
    assert settings["tcp_keepalives_interval"] == "5"
    assert settings["tcp_keepalives_count"] == "3"
    assert settings["tcp_user_timeout"] == "30000"
    assert settings["client_connection_check_interval"] == "2000"
    assert settings["idle_in_transaction_session_timeout"] == "60000"


def test_waiting_for_a_database_that_is_away_is_no_failure(postgres: Postgres) -> None:
    result = postgres.expand("no_such_database")

    assert (result.outcome, result.exit_code) == ("waiting", 75)
    assert "no_such_database" in result.error


def test_waiting_for_another_run_is_no_failure(postgres: Postgres, database: str, overlay: Overlay) -> None:
    image = overlay.expand("9001", WAIT_FOR_LOCK).image()
    with postgres.connected(database) as blocker, ThreadPoolExecutor() as threads:
        blocker.execute("SELECT pg_advisory_lock(1)")
        first = threads.submit(postgres.expand, database, image)
        eventually(lambda: waits_for_the_lock(blocker))

        second = postgres.expand(database, image)
        blocker.execute("SELECT pg_advisory_unlock(1)")

        assert (second.outcome, second.exit_code) == ("waiting", 75)
        assert first.result(PATIENCE_SECONDS).applied == ("9001",)


def test_of_two_runs_at_once_one_migrates(postgres: Postgres, empty_database: str) -> None:
    barrier = threading.Barrier(2)
    image = read_image()  # once: two threads that parse at once meet an error of Python 3.11 itself

    def run() -> tuple[str, ...]:
        barrier.wait(PATIENCE_SECONDS)
        return postgres.expand(empty_database, image, migration_wait_seconds=PATIENCE_SECONDS).applied

    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(run) for _ in range(2)]
        applied = sorted(run.result(PATIENCE_SECONDS) for run in runs)

    assert applied == [(), (*EXPANDS, *CONTRACTS)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_no_trace_and_the_next_one_migrates(
    postgres: Postgres, database: str, overlay: Overlay, number: signal.Signals
) -> None:
    image = overlay.expand("9001", f"{ADD_COLUMN}; op.execute('SELECT pg_advisory_xact_lock(1)')").image()
    with postgres.connected(database) as blocker:
        blocker.execute("SELECT pg_advisory_lock(1)")
        with started_command(postgres, database, overlay) as process:
            eventually(lambda: waits_for_the_lock(blocker))
            process.send_signal(number)
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        eventually(lambda: not waits_for_the_lock(blocker))

    assert "shelf" not in columns(postgres, database, "items")
    if number == signal.SIGTERM:
        result = json.loads(output.splitlines()[-1])
        assert (process.returncode, result["result"]) == (75, "waiting")
        assert "9001 was rolled back" in result["error"]
    again = postgres.expand(database, image, migration_wait_seconds=PATIENCE_SECONDS)
    assert again.applied == ("9001",)


def test_a_run_that_is_told_to_stop_ends_although_a_cancel_was_lost(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    outlive_one_cancel = "DO $$ BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END $$"
    overlay.expand("9001", f"op.execute({outlive_one_cancel!r}); op.execute('SELECT pg_sleep(60)')")
    interruption = Interruption()
    run = postgres.migration(database, overlay.image(), interruption)

    with ThreadPoolExecutor() as threads, postgres.connected(database) as observer:
        ended = threads.submit(run.expand)
        eventually(lambda: migration_waits_for(observer, "PgSleep"))
        interruption.interrupt(InterruptedRunError("told to stop"))

        assert ended.result(PATIENCE_SECONDS).outcome == "waiting"


def test_a_run_that_is_told_to_stop_between_two_migrations_does_not_begin_the_next(
    postgres: Postgres, database: str, overlay: Overlay, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    overlay.expand("9001", ADD_COLUMN).expand("9002", f"open({str(begun)!r}, 'x')")
    interruption = Interruption()

    with when_a_migration_commits(lambda: interruption.interrupt(InterruptedRunError("told to stop"))):
        result = postgres.migration(database, overlay.image(), interruption).expand()

    assert (result.outcome, result.exit_code) == ("waiting", 75)
    assert not begun.exists()


def test_the_time_limit_ends_a_migration(postgres: Postgres, database: str, overlay: Overlay) -> None:
    image = overlay.expand("9001", f"{ADD_COLUMN}; op.execute('SELECT pg_sleep(60)')").image()

    result = postgres.expand(database, image, migration_timeout_seconds=0.5)

    assert (result.outcome, result.exit_code) == ("failed", 1)
    assert result.error == "migration 9001 failed: migrating took longer than 0.5 s"
    assert "shelf" not in columns(postgres, database, "items")
