"""Candidates that really fail or really are slow, judged by a real Prometheus that scrapes their pods."""

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.cluster import prometheus
from tests.cluster.installation import NAME, Installation, merged, succeed
from tests.cluster.installations import Installations
from tests.cluster.kube import Object
from tests.cluster.traffic import Traffic

HEADER = "X-Candidate"
BACK_SECONDS = 20
"""Far more than it takes, which is printed: the machine may be busy. `make bench-operator` measures it.

ingress-nginx looks at most every 3.3 s at what has changed anywhere in the cluster (--sync-rate-limit), and each of its
workers takes that up within a second.
"""
SLOW_SECONDS = 1.3
"""What the slower release takes for a look at an item."""


@pytest.fixture(scope="module")
def scraped(installations: Installations) -> Iterator[Installation]:
    """An app whose candidates are judged by the built-in metrics, for which the address is enough."""
    app = installations.new()
    found = {"prometheus": {"address": prometheus.address(app)}}
    app.values = merged(app.values, {"app": {"analysis": found}})
    app.install()
    prometheus.start(app)
    yield app
    app.remove()


@pytest.fixture
def judged(scraped: Installation) -> Iterator[Installation]:
    """In the end it is asked for the content that serves: whatever was on its way has failed."""
    yield scraped
    succeed(scraped, scraped.rollback(1))
    scraped.wait_until_serving()


def test_a_candidate_that_is_slower_is_taken_back_and_no_request_fails(judged: Installation) -> None:
    """It is measured in the background, while it waits for a person."""
    app, stable = judged, judged.status["stableRelease"]
    with app.traffic() as traffic, traffic.during("a canary that is slower"):
        release(app, "slower", {"weight": 25}, {"pause": {}})
        waiting = app.wait_until_waiting("AwaitingPromotion")
        assert waiting["step"] == waiting["steps"] == 2
        taken_back = app.wait_for("it gets no requests", lambda: time.time() if weight(app) < 1 else None)
        status = app.wait_until_failed("AnalysisFailed")
        candidate = status["candidateRelease"]
        after = len(traffic.answers) + ENOUGH
        app.wait_for("stable alone answers", lambda: len(traffic.answers) > after and latest(traffic) == {stable})
    assert "p99: " in status["message"]
    assert "error-ratio" not in status["message"]
    last = max(at for at, by in traffic.answers if by == candidate) - SLOW_SECONDS
    expect_back_soon(app, candidate, taken_back, last)


def test_a_candidate_that_fails_for_some_hurts_none_but_those_who_ask_for_it(judged: Installation) -> None:
    app, stable = judged, judged.status["stableRelease"]
    answers: list[tuple[float, int, str]] = []
    with app.client() as client:
        item = client.call("POST", "/api/v1/items", {"name": "Drill", "sku": app.namespace, "quantity": 1}, expect=201)
        headers = {HEADER: "always", "Authorization": f"Bearer {client.token}"}

    def look() -> str:
        """A volunteer looks at the item; the release that answers."""
        sent = time.monotonic()
        answers.append((sent, *app.answer(f"/api/v1/items/{item.body['id']}", **headers)))
        return answers[-1][2]

    def given_back() -> float | None:
        look()
        return time.time() if weight(app) < 0 else None

    with app.traffic() as traffic, traffic.during("a canary that fails for a third"):
        release(app, "failing", {"weight": 0}, {"analysis": {}}, {"pause": {}})
        app.wait_for("the header leads to the candidate", lambda: weight(app) == 0)
        taken_back = app.wait_for("it doesn't any more", given_back)
        app.wait_for("volunteers are stable's, too", lambda: look() == stable)
        status = app.wait_until_failed("AnalysisFailed")
        candidate = status["candidateRelease"]
    [ratio] = re.findall(r"error-ratio: ([0-9.]+) \(good", status["message"])
    assert 0.1 < float(ratio) < 0.6, "a third fails, of the few requests that one range has"
    assert {by for _, by in traffic.answers} == {stable}
    codes = [code for _, code, by in answers if by == candidate]
    assert set(codes) == {200, 500}
    assert {code for _, code, by in answers if by == stable} == {200}
    last = max(sent for sent, _, by in answers if by == candidate)
    expect_back_soon(app, candidate, taken_back, last)


ENOUGH = 60
"""Answers that show who answers."""


def release(app: Installation, image: str, *steps: Object) -> None:
    canary = {"ingress": {"name": NAME, "header": HEADER}, "steps": list(steps)}
    succeed(app, app.upgrade(image, wait=False, app={"strategy": {"canary": canary}}))


def latest(traffic: Traffic) -> set[str]:
    return {by for _, by in traffic.answers[-ENOUGH:]}


def weight(app: Installation) -> int:
    """The candidate's, as ingress-nginx has it from the canary Ingress; -1 if there is none."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{app.namespace}/ingresses/{NAME}-canary"
    found = app.cluster.kube.get(path)
    return int(found["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"]) if found else -1


def expect_back_soon(app: Installation, candidate: str, taken_back: float, last: float) -> None:
    """`last` is when its last request was sent, on the monotonic clock."""
    measurement = measured(app, candidate)
    after, asked = taken_back - measurement, last + time.time() - time.monotonic() - measurement
    print(f"after the measurement: taken back at {after:.2f} s, the candidate's last request at {asked:.2f} s")
    assert max(after, asked) < BACK_SECONDS


def measured(app: Installation, candidate: str) -> float:
    """When the operator last measured it. The status has whole seconds, the record has more."""
    record: Any = json.loads(app.deployments()[candidate]["metadata"]["annotations"]["inventory.dev/record"])
    return max(datetime.fromisoformat(tally["measured"]) for tally in record["tallies"]).timestamp()
