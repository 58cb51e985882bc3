"""`status`, to the letter and in 80 columns."""

from datetime import timedelta
from typing import Any

from inventory_operator.commandline.apps import parse
from inventory_operator.commandline.text import Paper, shown
from inventory_operator.commandline.tree import tree

from .objects import EXPANDS, HASHES, NOW, at_rest, deployment, in_mid_canary, inventory_app, job, stamp


def test_a_canary_that_waits_for_a_person() -> None:
    assert tree(in_mid_canary(), Paper(), NOW) == CANARY


CANARY = f"""\
inventory in shop: Paused
Revision 7 waits at step 2 of 4 until somebody promotes it.
├─ revision 7  candidate  25 %  1/1 ready  registry.example/inventory-api:1.4.0
│  ├─ step 2 of 4: pause until promoted
│  ├─ analysis error-ratio  3 good: 0.0004
│  ├─ analysis p99  2 good, 1 bad: 1.21
│  ├─ expand job inventory-7-expand-1  done  12s
│  └─ pod inventory-{HASHES[7]}-0  ready  3m
├─ revision 6  stable  75 %  4/4 ready  registry.example/inventory-api:1.3.0
│  ├─ pod inventory-{HASHES[6]}-0  ready  3m
│  ├─ pod inventory-{HASHES[6]}-1  ready  3m
│  ├─ pod inventory-{HASHES[6]}-2  ready  3m
│  └─ pod inventory-{HASHES[6]}-3  waiting  3m
│     back-off 40s restarting the container
└─ schema  expand 0001..0023, contract c0001  seen 5m ago"""


def test_an_app_at_rest_is_short() -> None:
    assert tree(at_rest(), Paper(), NOW) == RESTING


RESTING = """\
inventory in shop: Healthy
Revision 7 serves with 4 of 4 pods.
├─ revision 7  stable  4/4 ready  registry.example/inventory-api:1.4.0
└─ schema  expand 0001..0023, contract c0001  seen 0s ago"""


def test_work_on_the_database_is_shown_while_it_goes_on_and_when_it_failed() -> None:
    going = {"kind": "contract", "number": 2, "stage": "backup", "message": "Job inventory-7-backup2-1 runs"}
    assert tree(at_rest(operation=going), Paper(), NOW).splitlines()[-1] == (
        "   └─ contract 2  backup: Job inventory-7-backup2-1 runs"
    )
    assert "contract 2  failed" in tree(at_rest(operation=going | {"stage": "failed"}), Paper(), NOW)
    assert "contract 2" not in tree(at_rest(operation=going | {"stage": "done"}), Paper(), NOW)


def test_an_order_that_was_refused_is_news_and_one_that_was_carried_out_is_not() -> None:
    order = {"command": "promote", "value": "7/9", "message": "Revision 7 is at step 2."}
    assert "promote 7/9: refused. Revision 7 is at step 2." in tree(
        in_mid_canary(commands=[order | {"state": "Refused"}]), Paper(), NOW
    )
    assert "promote 7/9" not in tree(in_mid_canary(commands=[order | {"state": "Done"}]), Paper(), NOW)


def test_an_app_that_no_operator_has_seen_says_so() -> None:
    found = inventory_app() | {"status": {"observedGeneration": -1}}
    assert tree(parse(found, [], [], []), Paper(), NOW).splitlines()[:2] == [
        "inventory in shop: not yet seen by an operator",
        "No operator has looked at this app yet: does one watch its namespace?",
    ]


def test_a_change_that_the_operator_has_not_seen_is_said() -> None:
    said = " (The operator has not seen the last change.)"
    assert said in tree(in_mid_canary(observedGeneration=2), Paper(120), NOW)
    assert said not in tree(in_mid_canary(), Paper(120), NOW)


def test_a_migration_that_runs_shows_what_its_pod_says() -> None:
    waiting = {
        "metadata": {
            "name": "inventory-7-expand-1-x",
            "labels": {},
            "creationTimestamp": stamp(minutes=1),
            "ownerReferences": [{"kind": "Job", "name": "inventory-7-expand-1"}],
        },
        "status": {"phase": "Pending", "conditions": [_unschedulable("0/3 nodes are available")]},
    }
    app = parse(inventory_app(phase="Migrating"), [deployment(7, 0)], [job(7, ended="")], [waiting])
    lines = tree(app, Paper(), NOW).splitlines()
    place = next(i for i, line in enumerate(lines) if "expand job inventory-7-expand-1  running" in line)
    assert "0/3 nodes are available" in lines[place + 1]


def test_no_line_is_wider_than_the_paper_whatever_the_cluster_says() -> None:
    long = "a very long explanation " * 20
    app = in_mid_canary(
        message=long,
        analysis=[{"name": "m" * 60, "good": 1, "said": long}],
        operation={"kind": "contract", "number": 1, "stage": "running", "message": long},
    )
    for paper in (Paper(), Paper(60, colour=True), Paper(40, plain=True)):
        assert max(map(shown, tree(app, paper, NOW).splitlines())) <= paper.width


def test_colours_change_no_character_of_the_text() -> None:
    coloured = tree(in_mid_canary(), Paper(colour=True), NOW)
    assert "\x1b[32mstable\x1b[0m" in coloured
    assert [shown(line) for line in coloured.splitlines()] == [len(line) for line in CANARY.splitlines()]


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert tree(in_mid_canary(), Paper(plain=True), NOW).isascii()


def test_what_a_pod_says_steers_no_terminal() -> None:
    evil = in_mid_canary(message="all \x1b[2Jfine\x07", analysis=[{"name": "x", "said": "\x1b]0;title\x07"}])
    assert "\x1b" not in tree(evil, Paper(), NOW)


def test_the_schema_is_the_newest_that_any_job_has_reported() -> None:
    older: dict[str, Any] = {"database_schema": {"expand": EXPANDS[:22], "contract": []}, "schema_seen": stamp(hours=1)}
    app = parse(inventory_app(), [deployment(7, 1), deployment(6, 4, **older)], [], [])
    assert "expand 0001..0023, contract c0001  seen 6m ago" in tree(app, Paper(), NOW + timedelta(minutes=1))


def _unschedulable(message: str) -> dict[str, str]:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
