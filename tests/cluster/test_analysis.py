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
"""Far more than it takes, which is printed: the machine may be busy."""


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
    app, stable = judged, judged.status["stableRelease"]
    with app.traffic() as traffic, traffic.during("a canary that is slower"):
        release(app, "slower", {"weight": 25}, {"analysis": {}}, {"pause": {}})
        status = app.wait_until_failed("AnalysisFailed")
        candidate = status["candidateRelease"]
        after = len(traffic.answers) + ENOUGH
        app.wait_for("stable alone answers", lambda: len(traffic.answers) > after and latest(traffic) == {stable})
    assert "p99: " in status["message"]
    assert "error-ratio" not in status["message"]
    last = max(at for at, by in traffic.answers if by == candidate)
    expect_soon(last - measured(app, candidate), "the last answer of a slow candidate, sent before")


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

    def failed() -> bool:
        look()
        return app.status.get("phase") == "Failed"

    with app.traffic() as traffic, traffic.during("a canary that fails for a third"):
        release(app, "failing", {"weight": 0}, {"analysis": {}}, {"pause": {}})
        app.wait_for("the candidate fails", failed)
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
    expect_soon(last - measured(app, candidate), "the last request that a failing candidate got")


ENOUGH = 60
"""Answers that show who answers."""


def release(app: Installation, image: str, *steps: Object) -> None:
    canary = {"ingress": {"name": NAME, "header": HEADER}, "steps": list(steps)}
    succeed(app, app.upgrade(image, wait=False, app={"strategy": {"canary": canary}}))


def latest(traffic: Traffic) -> set[str]:
    return {by for _, by in traffic.answers[-ENOUGH:]}


def measured(app: Installation, candidate: str) -> float:
    """When the operator last measured it, on the monotonic clock. The status has whole seconds, the record has more."""
    record: Any = json.loads(app.deployments()[candidate]["metadata"]["annotations"]["inventory.dev/record"])
    newest = max(datetime.fromisoformat(tally["measured"]) for tally in record["tallies"])
    return newest.timestamp() - time.time() + time.monotonic()


def expect_soon(seconds: float, what: str) -> None:
    print(f"{what}, came {seconds:.2f} s after the measurement that failed it")
    assert seconds < BACK_SECONDS
