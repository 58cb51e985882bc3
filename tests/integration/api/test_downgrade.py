"""The way back over a contract: with the newest image, which knows it, to a schema on which older ones run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from inventory_api.migrations.result import Result
from inventory_api.migrations.revisions import Image
from inventory_api.migrations.rule import objections

from tests.integration.api.migrating import (
    ADD_COLUMN,
    CHECKOUT,
    CONTRACTS,
    DROP_COLUMN,
    EXPANDS,
    migration_waits_for,
    schema_dump,
    started_command,
    steady_queries,
    waits_for_the_lock,
)
from tests.integration.api.overlays import Overlay
from tests.integration.api.services import client_of, ready, running, settings_for, unready_because_of
from tests.integration.conditions import PATIENCE_SECONDS, eventually
from tests.integration.stores import OWNER, SERVICE, Postgres

STAYS = CONTRACTS[-1] if CONTRACTS else "base"
CHECK = "op.execute(\"ALTER TABLE items ADD CONSTRAINT named CHECK (name <> '')\")"
UNCHECK = "op.execute('ALTER TABLE items DROP CONSTRAINT named')"
MAKE, UNMAKE = "op.execute('CREATE TABLE shelves ()')", "op.execute('DROP TABLE shelves')"
WAIT = "op.execute('SELECT pg_advisory_xact_lock(1)')"


@pytest.fixture
def two(overlay: Overlay) -> Overlay:
    """A release with two contract migrations that can be taken back."""
    return overlay.contract("c9001", "0001", CHECK, lossless=UNCHECK).contract("c9002", "0001", MAKE, lossless=UNMAKE)


def contracted(postgres: Postgres, database: str, image: Image) -> Sequence[str]:
    postgres.expand(database, image)
    return postgres.contract(database, image).applied


def test_contract_migrations_are_taken_back_newest_first_and_an_older_release_runs_again(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    before = overlay.release("v2").image()
    image = overlay.release("tightened").contract("c9003", "9001", MAKE, lossless=UNMAKE).image()
    assert contracted(postgres, database, image) == ("c9002", "c9003")
    blocked = postgres.migration(database, before).status()
    assert objections(before.schema, blocked.schema)
    assert objections(CHECKOUT.schema, blocked.schema)

    result = postgres.downgrade(database, STAYS, image, release="newest")

    assert (result.outcome, result.exit_code, result.error) == ("downgraded", 0, "")
    assert (result.applied, result.reverted) == ((), ("c9002", "c9003"))
    assert result.schema.contract == CONTRACTS
    for release in (before, CHECKOUT, image):
        seen = postgres.migration(database, release).status().schema
        assert not objections(release.schema, seen)
        assert postgres.expand(database, release).outcome == "nothing"
    postgres.execute(
        "INSERT INTO items (name, sku, quantity, shelf) VALUES ('a', '1', 1, '')", database=database, role=SERVICE
    )


async def test_the_service_of_an_older_release_starts_again_after_a_downgrade(
    postgres: Postgres, database: str, two: Overlay
) -> None:
    image = two.image()
    contracted(postgres, database, image)
    settings = settings_for(postgres.url(database, SERVICE))
    async with running(settings) as app, client_of(app) as api:
        await unready_because_of(api, "does not know it")

    assert postgres.downgrade(database, STAYS, image).outcome == "downgraded"

    async with running(settings) as app, client_of(app) as api:
        await ready(api)


def test_each_migration_that_is_taken_back_leaves_a_record_of_itself(
    postgres: Postgres, database: str, two: Overlay
) -> None:
    image = two.image()
    contracted(postgres, database, image)

    postgres.downgrade(database, STAYS, image, release="newest")

    rows = postgres.execute(
        "SELECT revision, history, direction, checksum, release, seconds > 0 FROM schema_history "
        "ORDER BY id DESC LIMIT 2",
        database=database,
    )
    assert rows == [
        (revision.identifier, "contract", "down", revision.checksum, "newest", True) for revision in image.contract[-2:]
    ]


def test_the_one_that_is_named_stays(postgres: Postgres, database: str, two: Overlay) -> None:
    image = two.image()
    contracted(postgres, database, image)

    result = postgres.downgrade(database, "c9001", image)

    assert (result.outcome, result.reverted) == ("downgraded", ("c9002",))
    assert result.schema.contract == (*CONTRACTS, "c9001")
    assert "shelves" not in postgres.tables(database)


def test_a_second_downgrade_has_nothing_to_do(postgres: Postgres, database: str, two: Overlay) -> None:
    image = two.image()
    contracted(postgres, database, image)
    postgres.downgrade(database, STAYS, image)

    again = postgres.downgrade(database, STAYS, image)

    assert (again.outcome, again.exit_code, again.reverted) == ("nothing", 0, ())


def test_what_was_taken_back_is_applied_by_the_next_contract_and_never_by_an_expand(
    postgres: Postgres, database: str, two: Overlay
) -> None:
    image = two.image()
    contracted(postgres, database, image)
    postgres.downgrade(database, STAYS, image)

    expanded = postgres.expand(database, image)
    again = postgres.contract(database, image)

    assert expanded.outcome == "nothing"
    assert (again.outcome, again.applied) == ("applied", ("c9001", "c9002"))
    assert "shelves" in postgres.tables(database)


def test_an_install_that_was_cut_short_does_not_bring_back_what_was_taken_back(
    postgres: Postgres, empty_database: str, overlay: Overlay
) -> None:
    overlay.contract("c9001", "0001", CHECK, lossless=UNCHECK).contract("c9002", "0001", "raise SystemError('crash')")
    assert postgres.expand(empty_database, overlay.image()).outcome == "failed"
    image = overlay.contract("c9002", "0001", MAKE).image()

    reverted = postgres.downgrade(empty_database, STAYS, image)
    expanded = postgres.expand(empty_database, image)

    assert (reverted.outcome, reverted.reverted) == ("downgraded", ("c9001",))
    assert (expanded.outcome, expanded.schema.contract) == ("nothing", CONTRACTS)


def test_each_lossless_downgrade_comes_to_the_schema_of_before(postgres: Postgres, overlay: Overlay) -> None:
    """Those of this checkout, and one of the tests' so that there is one."""
    image = overlay.release("v2").release("tightened").image()
    lossless = [place for place, revision in enumerate(image.contract) if revision.lossless_downgrade]
    assert lossless

    for place in lossless:
        old = replace(image, contract=image.contract[:place], required_contract=())
        new = replace(old, contract=image.contract[: place + 1])
        database = postgres.empty_database()
        postgres.expand(database, old)
        before = schema_lines(postgres, database)
        assert postgres.contract(database, new).outcome == "applied"

        to = old.contract[-1].identifier if place else "base"
        assert postgres.downgrade(database, to, new).outcome == "downgraded"

        assert schema_lines(postgres, database) == before
        postgres.drop(database)


def schema_lines(postgres: Postgres, database: str) -> list[str]:
    """Sorted, because a column that comes back is its table's last; the table of Alembic's own comes and stays."""
    dump = schema_dump(postgres, database, "--exclude-table=alembic_version_contract")
    return sorted(line.rstrip(",") for line in dump.splitlines())


def test_what_loses_something_is_refused_before_anything_is_taken_back(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    image = (
        overlay.expand("9001", ADD_COLUMN)
        .contract("c9001", "9001", DROP_COLUMN)
        .contract("c9002", "9001", MAKE, lossless=UNMAKE)
        .image()
    )
    contracted(postgres, database, image)

    result = postgres.downgrade(database, STAYS, image)

    assert (result.outcome, result.exit_code, result.reverted) == ("refused", 3, ())
    assert "c9001 can't be taken back without loss" in result.error
    assert "restore the backup" in result.error
    assert result.schema.contract == (*CONTRACTS, "c9001", "c9002")
    assert "shelves" in postgres.tables(database)


def test_an_image_does_not_take_back_what_it_requires(postgres: Postgres, database: str, two: Overlay) -> None:
    image = two.image(required=("c9001",))
    contracted(postgres, database, image)

    refused = postgres.downgrade(database, STAYS, image)
    less = postgres.downgrade(database, "c9001", image)

    assert (refused.outcome, refused.exit_code) == ("refused", 3)
    assert "requires contract migration c9001" in refused.error
    assert (less.outcome, less.reverted) == ("downgraded", ("c9002",))


def test_an_old_image_says_which_release_can_take_back_what_it_lacks(
    postgres: Postgres, database: str, two: Overlay
) -> None:
    postgres.contract(database, two.image(), release="newer")

    result = postgres.downgrade(database, "base")

    assert (result.outcome, result.exit_code) == ("refused", 3)
    assert "c9002, which this image lacks" in result.error
    assert "release newer has it" in result.error


def test_a_downgrade_waits_until_no_other_release_is_connected(postgres: Postgres, database: str, two: Overlay) -> None:
    image = two.image()
    contracted(postgres, database, image)

    with (
        postgres.connected(database, SERVICE, "inventory-api/other"),
        postgres.connected(database, SERVICE, "inventory-api/r1"),
    ):
        refused = postgres.downgrade(database, STAYS, image)
    with postgres.connected(database, SERVICE, "inventory-api/r1"):
        reverted = postgres.downgrade(database, STAYS, image)

    assert (refused.outcome, refused.exit_code) == ("refused", 3)
    assert "inventory-api/other" in refused.error
    assert "inventory-api/r1" not in refused.error
    assert reverted.reverted == ("c9001", "c9002")


def test_the_database_of_another_app_is_not_downgraded(postgres: Postgres, empty_database: str, two: Overlay) -> None:
    image = two.image()
    postgres.expand(empty_database, image, app_uid="first")

    result = postgres.downgrade(empty_database, STAYS, image, app_uid="second")

    assert (result.outcome, result.reverted) == ("refused", ())
    assert "first" in result.error


def test_a_failed_downgrade_changes_nothing_and_what_went_before_it_stays(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    overlay.contract("c9001", "0001", CHECK, lossless=f"{UNCHECK}; op.execute('SELECT 1/0')")
    image = overlay.contract("c9002", "0001", MAKE, lossless=UNMAKE).image()
    contracted(postgres, database, image)

    result = postgres.downgrade(database, STAYS, image)

    assert (result.outcome, result.exit_code, result.reverted) == ("failed", 1, ("c9002",))
    assert result.error == "downgrade of migration c9001 failed: division by zero"
    assert result.schema.contract == (*CONTRACTS, "c9001")
    assert has_the_check(postgres, database)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_downgrade_that_is_killed_goes_on_when_it_is_run_again(
    postgres: Postgres, database: str, overlay: Overlay, number: signal.Signals
) -> None:
    overlay.contract("c9001", "0001", CHECK, lossless=f"{UNCHECK}; {WAIT}")
    image = overlay.contract("c9002", "0001", MAKE, lossless=UNMAKE).image()
    contracted(postgres, database, image)
    with postgres.connected(database) as blocker:
        blocker.execute("SELECT pg_advisory_lock(1)")
        with started_command(postgres, database, overlay, "downgrade", STAYS) as process:
            eventually(lambda: waits_for_the_lock(blocker))
            process.send_signal(number)
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        eventually(lambda: not waits_for_the_lock(blocker))

    assert has_the_check(postgres, database)
    assert "shelves" not in postgres.tables(database)
    if number == signal.SIGTERM:
        result = json.loads(output.splitlines()[-1])
        assert (process.returncode, result["result"], result["reverted"]) == (75, "waiting", "c9002")
        assert "downgrade of migration c9001 was rolled back" in result["error"]
    again = postgres.downgrade(database, STAYS, image, migration_wait_seconds=PATIENCE_SECONDS)
    assert (again.outcome, again.reverted) == ("downgraded", ("c9001",))
    assert not has_the_check(postgres, database)


def test_a_downgrade_that_waits_for_a_backup_lets_the_service_through_and_gets_its_turn(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    image = overlay.contract("c9001", "0001", CHECK, lossless=UNCHECK).image()
    contracted(postgres, database, image)
    with (
        ThreadPoolExecutor() as threads,
        steady_queries(postgres, database) as seconds,
        postgres.connected(database) as observer,
        postgres.connected(database) as backup,
    ):
        backup.execute("BEGIN")
        backup.execute("LOCK TABLE items IN ACCESS SHARE MODE")
        run = threads.submit(postgres.downgrade, database, STAYS, image)
        eventually(lambda: migration_waits_for(observer, "relation"))
        eventually(lambda: not migration_waits_for(observer, "relation"))
        eventually(lambda: migration_waits_for(observer, "relation"))
        backup.execute("ROLLBACK")

        assert run.result(PATIENCE_SECONDS).reverted == ("c9001",)
    assert max(seconds) < 1.5


def test_of_two_downgrades_at_once_one_takes_back(postgres: Postgres, database: str, two: Overlay) -> None:
    image = two.image()
    contracted(postgres, database, image)

    def run(_number: int) -> Result:
        return postgres.downgrade(database, STAYS, image, migration_wait_seconds=PATIENCE_SECONDS)

    with ThreadPoolExecutor() as threads:
        results = list(threads.map(run, range(2)))

    assert sorted(result.reverted for result in results) == [(), ("c9001", "c9002")]


def test_an_index_that_comes_back_is_built_concurrently_and_again_after_a_crash(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    build = "create_index_concurrently('items_note_key', 'items', '(name)', unique=True)"
    overlay.contract("c9001", "0001", "op.execute('SELECT 1')", lossless=build)
    image = overlay.image()
    contracted(postgres, database, image)
    postgres.execute("INSERT INTO items (name, sku, quantity) VALUES ('a', '1', 1), ('a', '2', 1)", database=database)
    broken = postgres.downgrade(database, STAYS, image)
    postgres.execute("UPDATE items SET name = sku", database=database)

    mended = postgres.downgrade(database, STAYS, image)

    assert (broken.outcome, broken.schema.contract) == ("failed", (*CONTRACTS, "c9001"))
    assert (mended.outcome, mended.reverted) == ("downgraded", ("c9001",))
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_note_key'::regclass"
    assert postgres.execute(valid, database=database) == [(True,)]


def test_the_service_may_use_a_table_that_comes_back_although_the_next_downgrade_failed(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    overlay.contract("c9001", "0001", "op.execute('SELECT 1')", lossless="op.execute('SELECT 1/0')")
    image = overlay.contract("c9002", "0001", "op.execute('SELECT 1')", lossless=MAKE).image()
    contracted(postgres, database, image)

    assert postgres.downgrade(database, STAYS, image).reverted == ("c9002",)

    postgres.execute("INSERT INTO shelves DEFAULT VALUES", database=database, role=SERVICE)


def test_a_downgrade_of_an_empty_database_has_nothing_to_do_and_leaves_it_fresh(
    postgres: Postgres, empty_database: str, two: Overlay
) -> None:
    result = postgres.downgrade(empty_database, "base", two.image())
    installed = postgres.expand(empty_database, two.image())

    assert (result.outcome, result.exit_code) == ("nothing", 0)
    assert installed.applied == (*EXPANDS, *CONTRACTS, "c9001", "c9002")


def test_the_command_reports_what_it_has_taken_back(postgres: Postgres, database: str, two: Overlay) -> None:
    contracted(postgres, database, two.image())
    with started_command(postgres, database, two, "downgrade", STAYS) as process:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 0
    assert json.loads(output) == {
        "result": "downgraded",
        "expand": {"image": " ".join(EXPANDS), "schema": " ".join(EXPANDS)},
        "contract": {
            "image": " ".join((*CONTRACTS, "c9001", "c9002")),
            "schema": " ".join(CONTRACTS),
            "required": " ".join(CHECKOUT.required_contract),
        },
        "applied": "",
        "reverted": "c9001 c9002",
        "error": "",
        "seconds": pytest.approx(0, abs=5),
    }


@pytest.mark.parametrize("arguments", [["downgrade"], ["downgrade", "--to"], ["contract", "--to", "c0001"], []])
def test_a_command_line_that_says_too_little_or_too_much_does_nothing(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "inventory_api", "migrate", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (process.returncode, process.stdout) == (2, "")
    assert "usage: inventory-api" in process.stderr


def test_the_command_line_names_the_one_that_stays(postgres: Postgres, database: str) -> None:
    given = {
        "INVENTORY_MIGRATION_DATABASE_URL": postgres.url(database, OWNER),
        "INVENTORY_SERVICE_ROLE": SERVICE,
    }
    command = [sys.executable, "-m", "inventory_api", "migrate", "downgrade", "--to"]
    results = []
    for revision in (STAYS, "c9999"):
        process = subprocess.run([*command, revision], env={**os.environ, **given}, stdout=subprocess.PIPE, check=False)
        results.append((process.returncode, json.loads(process.stdout)))

    assert [(code, result["result"]) for code, result in results] == [(0, "nothing"), (3, "refused")]
    assert "c9999 is no contract migration of this image" in results[1][1]["error"]


def has_the_check(postgres: Postgres, database: str) -> bool:
    return bool(postgres.execute("SELECT 1 FROM pg_constraint WHERE conname = 'named'", database=database))
