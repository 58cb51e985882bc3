"""Migrations are applied once, in order, and leave a record."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from inventory_api.migrations.history import RECORD_TABLES
from inventory_api.models import metadata
from sqlalchemy import create_engine

from tests.integration.api.migrating import (
    ADD_COLUMN,
    CHECKOUT,
    CONTRACTS,
    DROP_COLUMN,
    EXPANDS,
    columns,
    schema_dump,
    started_command,
)
from tests.integration.api.overlays import Overlay
from tests.integration.conditions import PATIENCE_SECONDS
from tests.integration.stores import OWNER, SERVICE, Postgres


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
