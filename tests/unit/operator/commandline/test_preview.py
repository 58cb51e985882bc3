"""`plan -f`: what a manifest would do."""

import copy
from typing import Any

import pytest
from inventory_api.migrations.rule import DatabaseSchema, ImageSchema
from inventory_operator.commandline.apps import App, parse
from inventory_operator.commandline.exits import Ended, Exit
from inventory_operator.commandline.plan_job import Found, Migration, manifest
from inventory_operator.commandline.plan_job import parse as parse_log
from inventory_operator.commandline.preview import needs_migrations, preview, render
from inventory_operator.commandline.text import Paper, shown

from .objects import EXPANDS, IMAGE, SPECS, at_rest, deployment, in_mid_canary, inventory_app

Object = dict[str, Any]

PENDING = Found(
    ImageSchema((*EXPANDS, "0024"), ("c0001", "c0002")),
    DatabaseSchema(tuple(EXPANDS), ("c0001",)),
    (
        Migration("0024", "expand", "Shelves", "CREATE TABLE shelves (\n    id bigint\n);", ("prefer identity",)),
        Migration("c0002", "contract", "No free-text places", "ALTER TABLE items DROP COLUMN place;"),
    ),
)


def wanted(revision: int = 7, **changes: Any) -> Object:
    """A manifest that asks for this revision's content, with changes."""
    app = inventory_app(revision)
    return {"kind": "InventoryApp", "metadata": {"name": "inventory"}, "spec": copy.deepcopy(app["spec"]) | changes}


def said(app: App | None, asked: Object, found: Found | None = None) -> tuple[str, str]:
    made = preview(app, asked, found)
    return made.kind, made.said


@pytest.mark.parametrize(
    ("app", "asked", "kind", "sentence"),
    [
        (None, wanted(), "install", "the first release, revision 1."),
        (at_rest(), wanted(), "nothing", "no release: revision 7 has this content and serves."),
        (at_rest(), wanted(replicas=9), "nothing", "no release: revision 7 has this content and serves."),
        (at_rest(), wanted(image="new:1"), "release", "a release of a new image, revision 8."),
        (at_rest(), wanted(config={}), "release", "a release of configuration alone, revision 8."),
        (in_mid_canary(), wanted(6), "abort", "aborts revision 7: revision 6 serves on."),
        (in_mid_canary(), wanted(), "nothing", "no new release: revision 7, on its way, has this content."),
        (
            in_mid_canary(),
            wanted(image="new:1"),
            "release",
            "a release of a new image, revision 8. Revision 7, which is on its way, is given up.",
        ),
        (
            at_rest(),
            wanted(6),
            "rollback",
            "goes back to what revision 6 was, as revision 8. It has served before: steps and analyses are skipped. "
            "It runs on the schema that the database has: no migration is needed.",
        ),
        (
            at_rest(contract=("c0001", "c0002")),
            wanted(6),
            "rollback",
            "goes back to what revision 6 was, as revision 8. It has served before: steps and analyses are skipped. "
            "It would be refused: The contract migration c0002 is applied, and this release does not know it: it may "
            "use what was removed.",
        ),
    ],
)
def test_a_manifest_is_a_release_a_rollback_an_abort_or_nothing(
    app: App | None, asked: Object, kind: str, sentence: str
) -> None:
    assert said(app, asked) == (kind, sentence)


def test_failed_content_is_told_from_new_content() -> None:
    releases = [deployment(6, 4), deployment(7, 0, stage="failed"), deployment(5, 0, stage="failed")]
    app = parse(inventory_app(phase="Failed"), releases, [], [])
    assert said(app, wanted())[0] == "nothing"
    assert "`retry` tries it again" in said(app, wanted())[1]
    assert said(app, wanted(5))[0] == "retry"


def test_an_image_is_asked_for_its_migrations_only_where_nobody_knows_them() -> None:
    assert needs_migrations(None, wanted())
    assert needs_migrations(at_rest(), wanted(image="new:1"))
    assert not needs_migrations(at_rest(), wanted(6))
    assert needs_migrations(at_rest(contract=("c0001", "c0002")), wanted(6))
    no_migrations = wanted(image="new:1")
    del no_migrations["spec"]["migrations"]
    assert not needs_migrations(at_rest(), no_migrations)


def test_a_plan_to_the_letter() -> None:
    made = preview(at_rest(), wanted(image=f"{IMAGE}:1.5.0", replicas=10), PENDING)
    assert render(made, "inventory", Paper()) == PLAN


PLAN = """\
inventory: a release of a new image, revision 8.

Makes the release
  image: registry.example/inventory-api:1.4.0 ->
  registry.example/inventory-api:1.5.0

Changes at once, without a release
  replicas: 4 -> 10

Pods and requests
  1. weight 25 %, by pods: 3 of 10
  2. pause until promoted
  3. weight 50 %, by pods: 5 of 10
  4. pause of 60 s
  5. Revision 8 gets all requests and 10 pods; the former ones go.

Migrations
  0024  expand  Shelves
        lint: prefer identity
      | CREATE TABLE shelves (
      |     id bigint
      | );
  c0002  contract  No free-text places
        can't be downgraded
      | ALTER TABLE items DROP COLUMN place;

Point of no return: contract c0002 runs on command only (`kubectl inventory
contract`). After it nothing before revision 7 can come back (kept now: 5 and
6)."""


def test_an_automatic_contract_says_when() -> None:
    asked = wanted(image="new:1", migrations={"secret": "owner", "contract": {"mode": "Automatic", "soakSeconds": 60}})
    made = preview(at_rest(), asked, PENDING)
    assert "c0002 runs by itself, 60 s after revision 8 was promoted" in made.contract_said
    assert made.lost == (5, 6)


def test_without_a_contract_everything_can_still_come_back() -> None:
    found = Found(PENDING.image, DatabaseSchema(tuple(EXPANDS), ("c0001", "c0002")), PENDING.pending[:1])
    made = preview(at_rest(), wanted(image="new:1"), found)
    assert made.contract_said.startswith("No contract migration is pending")
    assert made.lost == ()


@pytest.mark.parametrize(
    ("strategy", "lines"),
    [
        ({"rolling": {}}, ["4 pods are replaced, with at most 5 at once and at least 4 ready."]),
        (
            {"rolling": {"maxSurge": 0, "maxUnavailable": "50%"}},
            ["4 pods are replaced, with at most 4 at once and at least 2 ready."],
        ),
        (
            {
                "canary": {
                    "ingress": {"name": "shop"},
                    "steps": [{"weight": 10}, {"analysis": {}}, {"gate": {"image": "s:1"}}],
                }
            },
            [
                "weight 10 %, by Ingress shop",
                "analysis",
                "gate (s:1)",
                "Revision 8 gets all requests and 4 pods; the former ones go.",
            ],
        ),
        (
            {"blueGreen": {"steps": [{"gate": {}}], "autoPromote": False}},
            [
                "4 pods of revision 8 start beside the 4 that serve.",
                "gate",
                "pause until promoted",
                "All requests go to revision 8 at once; the former pods stay warm for 300 s.",
            ],
        ),
    ],
)
def test_pods_and_requests_by_strategy(strategy: Object, lines: list[str]) -> None:
    assert list(preview(at_rest(), wanted(image="new:1", strategy=strategy), None).pods) == lines


def test_no_line_but_the_sql_is_wider_than_the_paper() -> None:
    asked = wanted(image="new:1", template={"podLabels": {"a": "b" * 99}})
    text = render(preview(at_rest(), asked, PENDING), "x", Paper())
    assert max(shown(line) for line in text.splitlines() if "|" not in line) <= 80
    assert "CREATE TABLE" not in render(preview(at_rest(), wanted(), PENDING), "x", Paper(), sql=False)


RESULT = (
    '{"result": "plan", "expand": {"image": "0001 0002", "schema": "0001"}, '
    '"contract": {"image": "c0001", "schema": "", "required": ""}, "applied": "", "error": "", "seconds": 0.1}'
)


def test_the_log_of_the_migration_command_is_read_with_its_own_log_in_between() -> None:
    found = parse_log(
        [
            '{"event": "looks", "level": "info", "revision": "0002"}',
            '{"revision": "0002", "history": "expand", "summary": "More", "transactional": false, '
            '"requires_expand": null, "lossless": false, "sql": "CREATE INDEX", "findings": ["slow"]}',
            "Traceback or anything",
            RESULT,
        ]
    )
    assert found.pending == (
        Migration("0002", "expand", "More", "CREATE INDEX", ("slow",), transactional=False),
        Migration("c0001", "contract"),
    )


def test_a_command_that_refuses_or_says_nothing_ends_the_plan() -> None:
    refused = RESULT.replace('"plan"', '"refused"').replace('"error": ""', '"error": "0001 was edited"')
    with pytest.raises(Ended, match="refused: 0001 was edited") as ended:
        parse_log([refused])
    assert ended.value.code is Exit.REFUSED
    with pytest.raises(Ended, match="without a result"):
        parse_log(["Killed"])


def test_the_job_changes_nothing_and_the_operator_does_not_take_it_for_its_own() -> None:
    asked = {"metadata": {"name": "inventory"}, "spec": SPECS[7] | {"migrations": {"secret": "owner"}}}
    job = manifest(asked, "shop", "ab12", 60)
    pod = job["spec"]["template"]
    assert not any(key.startswith("inventory.dev/") for key in (*job["metadata"]["labels"], *pod["metadata"]["labels"]))
    [container] = pod["spec"]["containers"]
    assert container["args"] == ["migrate", "plan"]
    assert container["envFrom"] == [{"secretRef": {"name": "owner"}}]
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 60)
    assert job["spec"]["ttlSecondsAfterFinished"] > 0
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
