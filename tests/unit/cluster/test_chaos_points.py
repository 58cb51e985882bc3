"""At which of its calls the operator is to die, and how they are told."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from inventory_operator import manifests
from inventory_operator.model import Record, Stage

from tests.cluster.chaos.calls import described
from tests.cluster.chaos.end_state import differences
from tests.cluster.chaos.matrix import Outcome, Undisturbed, Write, changed
from tests.cluster.chaos.process import Death
from tests.cluster.chaos.report import Run, Told, command, page
from tests.cluster.chaos.stage import Kept

NAMESPACE = "/api/v1/namespaces/shop"
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/shop-0123456789"
UNDISTURBED = Undisturbed(
    (
        Write("create Job", 1, read_before=True),
        Write("Event", 1, read_before=False),
        Write("Event", 2, read_before=True),
    ),
    9,
    1.0,
    24,
    Kept("kept", {}, {}),
    (),
    Counter(),
)


def recorded(**changes: object) -> dict[str, object]:
    record = Record(3, Stage.ROLLING, datetime(2026, 1, 1, tzinfo=UTC), "image", step=1)
    return {"metadata": {"annotations": {"inventory.dev/record": manifests.dump_record(record)}}, **changes}


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", f"{NAMESPACE}/pods", None, "read pods"),
        ("GET", f"{NAMESPACE}/services/shop", None, "read services shop"),
        ("POST", f"{NAMESPACE}/events", {"reason": "Promoted"}, "Event Promoted"),
        (
            "POST",
            "/apis/batch/v1/namespaces/shop/jobs",
            {"metadata": {"name": "shop-1-expand-1"}},
            "create Job shop-1-expand-1",
        ),
        (
            "PATCH",
            DEPLOYMENT,
            recorded(spec={"replicas": 2}),
            "Deployment shop-0123456789: rolling, step 1, replicas 2",
        ),
        (
            "PATCH",
            f"{NAMESPACE}/services/shop",
            {"metadata": {}, "spec": {"selector": {}}},
            "Service shop: all releases",
        ),
        (
            "DELETE",
            "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/shop-canary",
            {},
            "delete Ingress shop-canary",
        ),
    ],
)
def test_a_call_is_told_by_what_it_does(method: str, path: str, body: dict[str, object] | None, said: str) -> None:
    call = described(method, path, body)
    assert (call.said, call.writes) == (said, method != "GET")


def test_each_write_is_died_after_and_before_where_that_is_another_moment() -> None:
    assert list(map(str, UNDISTURBED.deaths)) == [
        "before create Job",
        "after create Job",
        "after Event",
        "before Event #2",
        "after Event #2",
    ]


def test_another_end_is_told_value_by_value() -> None:
    expected, actual = {"jobs": {"a": [1, 2]}, "app": "there"}, {"jobs": {"a": [1, 3], "b": []}, "app": "there"}
    assert differences(expected, actual) == ["jobs.a.1: 3 instead of 2"]
    assert differences({"jobs": {}}, {"jobs": {"b": {"pods": 1}}}) == ["jobs.b.pods: 1 instead of nothing"]
    assert differences(expected, expected) == []


def test_a_migration_that_ran_twice_is_told() -> None:
    assert "+ applied 9001" in changed(["applied 9001"], ["applied 9001", "applied 9001"])


def test_the_page_says_what_differs_and_how_to_run_it_again() -> None:
    same = Outcome("release", Death("after", "create Job"), 1, 5.0, 100)
    other = Outcome("release", Death("before", "Event", 2), 1, 5.0, 100, problem="jobs.a: 2 instead of 1")
    run = Run("1 January 2026", "abc", 2, 3.0, [Told("release", UNDISTURBED, [same, other])], 2)
    text = page(run)
    assert "| create Job | not run | same |" in text
    assert "| Event #2 | **differs** | not run |" in text
    assert "jobs.a: 2 instead of 1" in text
    assert command(other) in text
    assert "1 runs that did not end as they must" in text
    assert "It was stopped after 1 of 2 scenarios." in text
    assert "stopped" not in page(replace(run, scenarios=1))
