"""What a release can be told midway: paused, frozen, scaled, short of pods, and led by an Ingress that is edited."""

import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.installation import NAME, SERVICE_PODS, Installation, is_ready
from tests.cluster.installations import Installations
from tests.cluster.kube import Object
from tests.cluster.test_failure_modes import lock_held, moments, ready_pods
from tests.cluster.test_strategies import share

pytestmark = pytest.mark.slow

SERVICE = dict(each.split("=") for each in SERVICE_PODS.split(","))
PODS = 2
WEIGHT = 25
TIMEOUT = "nginx.ingress.kubernetes.io/proxy-read-timeout"
FOLLOWS_SECONDS = 30
"""Of a change of an Ingress no watch tells."""
ASKED = 20
"""Requests none of which goes the right way by chance."""
FAILING_GATE = {"gate": {"args": ["smoke", "--url", "http://127.0.0.1:9"]}}


@pytest.fixture(scope="module")
def shared(installations: Installations) -> Iterator[Installation]:
    """Nobody else gets it: what is edited here by hand is no longer Helm's."""
    app = installations.new(app={"strategy": {"canary": {"ingress": {"name": NAME}}}})
    app.install()
    yield app
    app.remove()


@pytest.fixture
def app(shared: Installation) -> Installation:
    """It serves with two pods and without a strategy of its own, whatever a test before has left."""
    status = shared.status
    if status["phase"] == "Failed":
        stable = shared.specs[status["stableRelease"]]
        shared.edit(config={"NOTE": None, **stable["config"]})
    shared.edit(strategy=None, paused=None, rollback=None, replicas=PODS)
    shared.wait_until_serving()
    shared.wait_until_at_rest()
    return shared


# --- paused and frozen --------------------------------------------------------------------------------------------


def test_a_release_that_is_paused_midway_stands_still_and_then_goes_on(app: Installation) -> None:
    before = app.status
    with app.traffic() as traffic, traffic.during("a release that is paused midway"):
        app.edit(config={"NOTE": "paused midway"})
        candidate = app.wait_for("its first pod is there", lambda: has_pods(app, 1))
        app.edit(paused=True)
        app.wait_until_waiting("Paused")
        both = before["stableRelease"], candidate
        app.wait_for("that pod is ready", lambda: ready(app, *both) == [PODS, 1])
        look_again(app)
        assert ready(app, *both) == [PODS, 1]
        scale(app, 4)
        app.wait_for("stable alone has grown", lambda: ready(app, *both) == [3, 1])
        look_again(app)
        assert [len(app.pods_of(release)) for release in both] == [3, 1]
        app.edit(paused=False)
        after = app.wait_until_serving()
    assert (after["stableRelease"], after["stableRevision"]) == (candidate, before["stableRevision"] + 1)


def test_a_frozen_release_stays_as_it_is_until_a_person_takes_it_back_or_lets_it_go_on(app: Installation) -> None:
    before = app.status
    app.edit(rollback="Freeze", strategy={"canary": {"steps": [{"weight": 50}, FAILING_GATE, {"pause": {}}]}})

    def expect_frozen() -> Object:
        """With its pods and requests; the status."""
        status = app.wait_until_failed("GateFailed")
        assert "failed and is left as it is" in status["message"]
        look_again(app)
        both = status["stableRelease"], status["candidateRelease"]
        assert ready(app, *both) == [1, 1]
        seen = len(traffic.answers)
        app.wait_for("both answer", lambda: {by for _, by in traffic.answers[seen:]} == set(both))
        return status

    with app.traffic() as traffic, traffic.during("a release that is frozen twice"):
        app.edit(config={"NOTE": "frozen"})
        first = expect_frozen()
        candidate, revision = first["candidateRelease"], first["candidateRevision"]
        app.order("abort", str(revision))
        app.wait_for("stable has all pods", lambda: ready(app, before["stableRelease"], candidate) == [PODS, 0])
        app.wait_for("it answers alone", lambda: share(traffic, before["stableRelease"]) == 1)
        app.order("retry", str(revision))
        app.wait_for("it begins again", lambda: app.status["candidateRevision"] == revision + 1)
        expect_frozen()
        app.order("promote", f"{revision + 1}/2")
        status = app.wait_until_waiting("AwaitingPromotion")
        assert (status["step"], status["weight"]) == (3, 50)
        app.order("promote", f"{revision + 1}/3")
        after = app.wait_until_serving()
    assert (after["stableRelease"], after["stableRevision"]) == (candidate, revision + 1)


# --- the number of pods -------------------------------------------------------------------------------------------


def test_an_app_that_is_scaled_to_zero_and_back_is_the_same_release(app: Installation) -> None:
    before, jobs = app.status, app.jobs()
    scale_to_zero(app)
    app.wait_for("nobody answers", lambda: app.answer("/") == (503, ""))
    after = scale_back(app)
    assert after["stableRevision"] == before["stableRevision"]
    assert app.jobs() == jobs


def test_a_release_that_is_scaled_to_zero_midway_is_the_one_that_comes_back(app: Installation) -> None:
    """Nobody is left whom its steps could protect: they are over."""
    app.edit(strategy={"canary": {"steps": [{"weight": 50}, {"pause": {}}]}})
    with app.traffic() as traffic, traffic.during("a canary, before it is scaled to zero"):
        app.edit(config={"NOTE": "scaled to zero midway"})
        midway = app.wait_until_waiting("AwaitingPromotion")
    scale_to_zero(app)
    after = scale_back(app)
    assert after["stableRevision"] == midway["candidateRevision"]
    assert after["stableRelease"] == midway["candidateRelease"]


def test_replicas_that_change_while_a_release_migrates_rolls_out_and_is_promoted_are_followed(
    app: Installation,
) -> None:
    stable = app.status["stableRelease"]
    app.edit(strategy={"canary": {"steps": [{"weight": 50}, {"pause": {}}]}})
    with app.traffic() as traffic, traffic.during("a release whose replicas change in each phase"):
        with lock_held(app):
            app.edit(config={"NOTE": "scaled in each phase"})
            app.wait_for("it migrates", lambda: app.status["phase"] == "Migrating")
            scale(app, 3)
            app.wait_for("stable has grown", lambda: ready_pods(app, stable) == 3)
            assert app.status["phase"] == "Migrating"
        candidate = app.wait_for("it rolls out", lambda: has_pods(app, 1))
        scale(app, 4)
        status = app.wait_until_waiting("AwaitingPromotion")
        app.wait_for("each has its half of four", lambda: ready(app, stable, candidate) == [2, 2])
        app.order("promote", f"{status['candidateRevision']}/2")
        app.wait_for("more of its pods come", lambda: has_pods(app, 3))
        scale(app, 2)
        after = app.wait_until_serving()
    assert (after["stableRelease"], after["readyReplicas"]) == (candidate, 2)


def test_a_rolling_release_is_never_short_of_more_pods_than_it_may_be(app: Installation) -> None:
    app.edit(replicas=4, strategy={"rolling": {"maxSurge": 0, "maxUnavailable": 2}})
    before = app.wait_until_serving()
    pods = app.pods(SERVICE_PODS)
    record = app.cluster.kube.recorder(f"/api/v1/namespaces/{app.namespace}/pods", seconds=1)
    with app.traffic() as traffic, traffic.during("a rolling release that may lack two pods of four"):
        app.edit(config={"NOTE": "two at a time"})
        after = app.wait_until_serving()
    counts = [sum(map(is_ready, each)) for each in moments(record(), SERVICE, pods)]
    assert min(counts) == 2, counts
    assert after["stableRevision"] == before["stableRevision"] + 1


def test_dynamic_stable_scale_gives_pods_up_with_the_weight_and_has_them_back_for_an_abort(app: Installation) -> None:
    steps: list[Object] = [{"weight": 25}, {"pause": {}}, {"weight": 75}, {"pause": {}}]
    app.edit(replicas=4, strategy={"canary": {**by_ingress(steps), "dynamicStableScale": True}})
    before = app.wait_until_serving()
    with app.traffic() as traffic, traffic.during("a canary with dynamic stable scale that is aborted"):
        app.edit(config={"NOTE": "with few pods of the stable release"})
        status = app.wait_until_waiting("AwaitingPromotion")
        both = before["stableRelease"], status["candidateRelease"]
        app.wait_for("three and one", lambda: ready(app, *both) == [3, 1])
        app.order("promote", f"{status['candidateRevision']}/2")
        app.wait_for("it has three quarters", lambda: app.status["weight"] == 75 and app.status["phase"] == "Paused")
        app.wait_for("one and three", lambda: ready(app, *both) == [1, 3])
        app.order("abort", str(status["candidateRevision"]))
        app.wait_until_failed("Aborted")
        app.wait_for("stable has all four", lambda: ready(app, *both) == [4, 0])
        app.wait_for("it answers alone", lambda: share(traffic, before["stableRelease"]) == 1)


# --- the canary Ingress -------------------------------------------------------------------------------------------


def test_a_cookie_leads_to_the_candidate_or_away_from_it_and_its_ingress_follows_the_stable_one(
    app: Installation,
) -> None:
    with app.traffic() as traffic, traffic.during("a canary by ingress whose Ingress is edited"):
        status = canary_under_way(app, "led by a cookie", cookie="canary")
        stable, candidate = (200, status["stableRelease"]), (200, status["candidateRelease"])
        app.wait_for("whoever wants it gets it", lambda: led(app, "canary=always") == {candidate})
        assert led(app, "canary=never") == {stable}
        edit_ingress(app, "331", "/livez")
        app.wait_for("the canary Ingress is in step", lambda: in_step(app, "331", "/livez"))
        app.wait_for("the new path leads there, too", lambda: led(app, "canary=always", "/livez") == {candidate})
        assert led(app, "canary=never", "/livez") == {stable}
        app.order("abort", str(status["candidateRevision"]))
        app.wait_until_failed("Aborted")
        app.wait_for("it is gone", lambda: app.cluster.kube.get(ingress_path(app, f"{NAME}-canary")) is None)


@pytest.mark.parametrize(("held", "timeout", "path"), [("paused", "332", "/readyz"), ("frozen", "333", "/metrics")])
def test_the_canary_ingress_follows_the_stable_one_while_a_release_is_held(
    app: Installation, held: str, timeout: str, path: str
) -> None:
    with app.traffic() as traffic, traffic.during(f"a {held} canary whose Ingress is edited"):
        if held == "frozen":
            app.edit(rollback="Freeze", strategy={"canary": by_ingress([{"weight": WEIGHT}, FAILING_GATE])})
            app.edit(config={"NOTE": "frozen by ingress"})
            app.wait_until_failed("GateFailed")
        else:
            canary_under_way(app, "paused by ingress")
            app.edit(paused=True)
            app.wait_until_waiting("Paused")
        edit_ingress(app, timeout, path)
        app.wait_for("the canary Ingress is in step", lambda: in_step(app, timeout, path), seconds=FOLLOWS_SECONDS)


# --- what is done -------------------------------------------------------------------------------------------------


def scale(app: Installation, replicas: int) -> None:
    """As an autoscaler does."""
    app.kubectl("scale", "inventoryapp", NAME, f"--replicas={replicas}")


def scale_to_zero(app: Installation) -> None:
    scale(app, 0)
    app.wait_until_serving()
    app.wait_for("no pod is left", lambda: not app.pods(SERVICE_PODS))


def scale_back(app: Installation) -> Object:
    """The status, once requests come to it again and none of them fails."""
    scale(app, PODS)
    status = app.wait_until_serving()
    app.wait_for("each of the ingress controller's workers answers", app.answers_steadily)
    with app.traffic() as traffic, traffic.during("the time after zero pods"):
        app.wait_for("it alone answers", lambda: share(traffic, status["stableRelease"]) == 1)
    return status


def look_again(app: Installation) -> None:
    """Returns when the operator has seen the app as it is now."""
    order = f"0/{uuid.uuid4().hex}"
    app.order("restart", order)
    app.wait_for(
        "the operator has looked", lambda: order in [each["value"] for each in app.status.get("commands") or ()]
    )


def by_ingress(steps: list[Object], **options: str) -> Object:
    return {"ingress": {"name": NAME, **options}, "steps": steps}


def canary_under_way(app: Installation, note: str, **options: str) -> Object:
    """The status of one that has its weight, and would go on in an hour."""
    steps: list[Object] = [{"weight": WEIGHT}, {"pause": {"seconds": 3600}}]
    app.edit(strategy={"canary": by_ingress(steps, **options)})
    app.edit(config={"NOTE": note})
    app.wait_for("it has its weight", lambda: app.status.get("step") == 2)
    return app.status


def edit_ingress(app: Installation, timeout: str, path: str) -> None:
    """By hand: another annotation, and one more path to the Service."""
    found = app.cluster.kube.request("GET", ingress_path(app, NAME))
    rules = found["spec"]["rules"]
    backend = rules[0]["http"]["paths"][0]["backend"]
    rules[0]["http"]["paths"].append({"path": path, "pathType": "Exact", "backend": backend})
    annotations = {TIMEOUT: timeout}
    app.cluster.kube.merge(
        ingress_path(app, NAME), {"metadata": {"annotations": annotations}, "spec": {"rules": rules}}
    )


# --- what is seen -------------------------------------------------------------------------------------------------


def ready(app: Installation, *releases: str) -> list[int]:
    return [ready_pods(app, release) for release in releases]


def has_pods(app: Installation, least: int) -> str:
    """The candidate's hash, once it has so many pods."""
    candidate = str(app.status.get("candidateRelease", ""))
    return candidate if candidate and len(app.pods_of(candidate)) >= least else ""


def led(app: Installation, cookie: str, path: str = "/") -> set[tuple[int, str]]:
    """The answers that requests with this cookie get."""
    return {app.answer(path, Cookie=cookie) for _ in range(ASKED)}


def in_step(app: Installation, timeout: str, path: str) -> bool:
    """Whether the canary Ingress is what the stable one is, with the candidate's Service, and has its weight still."""
    stable, canary = (app.cluster.kube.request("GET", ingress_path(app, n)) for n in (NAME, f"{NAME}-canary"))
    annotations = canary["metadata"]["annotations"]
    paths = [each["path"] for rule in canary["spec"]["rules"] for each in rule["http"]["paths"]]
    rules = [
        {**rule, "http": {"paths": [{**each, "backend": candidate_backend(each)} for each in rule["http"]["paths"]]}}
        for rule in stable["spec"]["rules"]
    ]
    assert annotations["nginx.ingress.kubernetes.io/canary-weight"] == str(WEIGHT)
    return annotations.get(TIMEOUT) == timeout and path in paths and canary["spec"]["rules"] == rules


def candidate_backend(path: Object) -> Object:
    return {"service": {**path["backend"]["service"], "name": f"{NAME}-candidate"}}


def ingress_path(app: Installation, name: str) -> str:
    return f"/apis/networking.k8s.io/v1/namespaces/{app.namespace}/ingresses/{name}"
