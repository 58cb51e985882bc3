"""Canary and blue-green on a real cluster, under steady traffic that no step may fail."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.installation import NAME, Installation, succeed
from tests.cluster.installations import Installations
from tests.cluster.kube import Object
from tests.cluster.traffic import Traffic

RELEASE = "inventory.dev/release"
ENOUGH = 60
"""Answers that show a share."""


@pytest.fixture
def by(installations: Installations) -> Iterator[Any]:
    """A fresh app with a strategy, which nobody else gets: a strategy stays in its values."""
    made: list[Installation] = []

    def install(strategy: Object, **app: Any) -> Installation:
        found = installations.new(app={"strategy": strategy, **app})
        made.append(found)
        found.install()
        return found

    yield install
    for each in made:
        each.remove()


def test_a_canary_by_pods_goes_step_by_step_and_fails_no_request(by: Any) -> None:
    smoke = {"gate": {"args": ["smoke", "--url", "$(INVENTORY_URL)"], "secrets": [f"{NAME}-admin"]}}
    app = by({"canary": {"steps": [smoke, {"weight": 50}, {"pause": {}}]}})
    before = app.status
    with app.traffic() as traffic, traffic.during("a canary by pods"):
        succeed(app, app.upgrade("v2", wait=False))
        status = app.wait_until_waiting("AwaitingPromotion")
        assert (status["weight"], status["step"], status["steps"]) == (50, 3, 3)
        assert f"{NAME}-{status['candidateRevision']}-gate1-1" in app.jobs()
        assert len(app.pods_of(status["stableRelease"])) == len(app.pods_of(status["candidateRelease"])) == 1
        both = {status["stableRelease"], status["candidateRelease"]}
        app.wait_for("both answer", lambda: set(latest(traffic)) == both)
        app.order("promote", f"{status['candidateRevision']}/3")
        after = app.wait_until_serving()
    assert after["stableRevision"] == before["stableRevision"] + 1
    assert app.applied("9001") == ["up"]


def test_a_gate_that_fails_lets_no_request_through(by: Any) -> None:
    app = by({"canary": {"steps": [{"gate": {"args": ["smoke", "--url", "http://127.0.0.1:9"]}}]}})
    before = app.status
    with app.traffic() as traffic, traffic.during("a gate that fails"):
        succeed(app, app.upgrade("v2", wait=False))
        status = app.wait_until_failed("GateFailed")
        assert status["stableRevision"] == before["stableRevision"]
    assert {release for _, release in traffic.answers} == {before["stableRelease"]}


def test_a_canary_by_ingress_has_its_weight_and_an_abort_takes_it_back(by: Any) -> None:
    app = by({"canary": {"ingress": {"name": NAME}, "steps": [{"weight": 40}, {"pause": {}}]}})
    before = app.status
    canary = f"/apis/networking.k8s.io/v1/namespaces/{app.namespace}/ingresses/{NAME}-canary"
    with app.traffic() as traffic, traffic.during("a canary by ingress that is aborted"):
        succeed(app, app.upgrade("v2", wait=False))
        status = app.wait_until_waiting("AwaitingPromotion")
        candidate = status["candidateRelease"]
        assert app.cluster.kube.get(canary)
        app.wait_for("the candidate has its share", lambda: 0.2 < share(traffic, candidate) < 0.6)
        assert app.service_selector()[RELEASE] == before["stableRelease"]
        app.order("abort", str(status["candidateRevision"]))
        app.wait_until_failed("Aborted")
        app.wait_for("stable alone answers", lambda: share(traffic, before["stableRelease"]) == 1)
        app.wait_for("the canary Ingress is gone", lambda: app.cluster.kube.get(canary) is None)
        app.order("retry", str(status["candidateRevision"]))
        again = app.wait_until_waiting("AwaitingPromotion")
        app.order("promote", f"{again['candidateRevision']}/2")
        after = app.wait_until_serving()
        app.wait_for("it answers alone", lambda: share(traffic, after["stableRelease"]) == 1)
    assert app.cluster.kube.get(canary) is None


def test_blue_green_switches_at_once_and_back_at_once(by: Any) -> None:
    app = by({"blueGreen": {"autoPromote": False, "warmSeconds": 300}})
    before = app.status
    with app.traffic() as traffic, traffic.during("blue-green"):
        succeed(app, app.upgrade("v2", wait=False))
        status = app.wait_until_waiting("AwaitingPromotion")
        assert len(app.pods_of(status["candidateRelease"])) == 2
        assert set(latest(traffic)) == {before["stableRelease"]}
        preview = app.cluster.kube.get(f"/api/v1/namespaces/{app.namespace}/services/{NAME}-candidate")
        assert preview
        assert preview["spec"]["selector"][RELEASE] == status["candidateRelease"]
        app.order("promote", f"{status['candidateRevision']}/1")
        app.wait_for("the new one answers", lambda: traffic.released() == status["candidateRelease"])
        app.wait_for("it is promoted", lambda: app.status.get("stableRelease") == status["candidateRelease"])
        warm, jobs = app.pods_of(before["stableRelease"]), app.jobs()
        assert len(warm) == 2
        succeed(app, app.run_helm("rollback", NAME, "1", "--namespace", app.namespace))
        app.wait_for("the former one answers", lambda: traffic.released() == before["stableRelease"])
        app.wait_for("it serves", lambda: app.status.get("stableRevision") == status["candidateRevision"] + 1)
        assert app.pods_of(before["stableRelease"]) == warm
        assert set(app.jobs()) <= set(jobs)


def test_a_restart_by_order_replaces_the_pods_and_makes_no_release(by: Any) -> None:
    app = by({"rolling": {"maxSurge": 1}})
    before = app.status
    replaced_without_a_failure(app, lambda: app.order("restart", f"{before['stableRevision']}/once"))
    app.wait_for("it is said", lambda: app.status["commands"][0]["state"] == "Done")
    assert app.status["stableRevision"] == before["stableRevision"]


def test_a_rotated_secret_replaces_the_pods_and_makes_no_release(by: Any) -> None:
    app = by({"rolling": {"maxSurge": 1}})
    before = app.status
    patch = '{"stringData": {"INVENTORY_LOG_LEVEL": "DEBUG"}}'
    # The operator looks at Secrets when it looks at the app: at the latest after five minutes, here at once.
    replaced_without_a_failure(
        app,
        lambda: (
            app.kubectl("patch", "secret", f"{NAME}-service", "--patch", patch),
            app.kubectl("annotate", f"inventoryapp/{NAME}", "note=look"),
        ),
    )
    assert app.status["stableRevision"] == before["stableRevision"]


def replaced_without_a_failure(app: Installation, change: Callable[[], object]) -> None:
    release = app.status["stableRelease"]
    pods = set(app.pods_of(release))
    with app.traffic() as traffic, traffic.during("pods are replaced"):
        change()
        app.wait_for("all pods are new", lambda: len(now := set(app.pods_of(release))) == 2 and not now & pods)
        app.wait_until_serving()


def latest(traffic: Traffic) -> list[str]:
    """The releases of the newest answers."""
    return [release for _, release in traffic.answers[-ENOUGH:]]


def share(traffic: Traffic, release: str) -> float:
    """The share of the newest answers that a release gave."""
    found = latest(traffic)
    return Counter(found)[release] / len(found) if len(found) == ENOUGH else -1
