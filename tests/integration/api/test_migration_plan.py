"""What a run would do, told before anything is done."""

import json
from pathlib import Path

from tests.integration.api.migrating import (
    ADD_COLUMN,
    CONTRACTS,
    DROP_COLUMN,
    EXPANDS,
    columns,
    plan_of,
    started_command,
)
from tests.integration.api.overlays import Overlay
from tests.integration.conditions import PATIENCE_SECONDS
from tests.integration.stores import Postgres


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
