"""Whatever is killed, and whenever: the end is the same."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import pytest

from tests.cluster.installation import JOB_PODS, NAME, OPERATOR_PODS, Installation, succeed
from tests.cluster.kube import Object

KILLS = 4


def test_an_operator_that_is_killed_at_any_moment_ends_a_release_all_the_same(
    app_at_base: Installation, chance: random.Random
) -> None:
    app, before, jobs = app_at_base, app_at_base.status, app_at_base.jobs()
    with app.traffic() as traffic, traffic.during("helm upgrade to v2 with a dying operator"):
        with OperatorKiller(app, chance):
            succeed(app, app.upgrade("v2"))
        expect_end(app, app.cluster.image("v2"), before["stableRevision"] + 1)
    assert app.applied("9001") == ["up"]
    assert set(app.jobs()) - set(jobs) == {first_job(before["stableRevision"] + 1)}


def test_an_operator_that_is_killed_at_any_moment_ends_a_rollback_all_the_same(
    app_with_a_past: Installation, chance: random.Random
) -> None:
    app, before, jobs = app_with_a_past, app_with_a_past.status, app_with_a_past.jobs()
    former = app.former_releases()[-1]
    with app.traffic() as traffic, traffic.during("helm rollback with a dying operator"):
        with OperatorKiller(app, chance):
            succeed(app, app.rollback(app.helm_revisions[former]))
        status = expect_end(app, app.specs[former]["image"], before["stableRevision"] + 1)
    assert status["stableRelease"] == former
    assert set(app.jobs()) <= set(jobs)


def test_a_migration_whose_pod_is_killed_is_applied_once(app_at_v2: Installation) -> None:
    app, before = app_at_v2, app_at_v2.status
    with app.traffic() as traffic, traffic.during("a release whose migration is killed"):
        succeed(app, app.upgrade("slow-migration", wait=False))
        victim = app.wait_for("the migration runs", lambda: migrating_pod(app))
        app.cluster.kube.delete(app.pod_path(victim), at_once=True)
        expect_end(app, app.cluster.image("slow-migration"), before["stableRevision"] + 1)
    assert app.applied("9002") == ["up"]
    assert app.query("SELECT count(*) FROM shelf_labels") == ["0"]
    others = {pod["metadata"]["uid"] for pod in app.pods(JOB_PODS)} - {victim["metadata"]["uid"]}
    assert others


def test_two_operators_at_once_make_one_migration(app_at_v2: Installation) -> None:
    app, before, jobs = app_at_v2, app_at_v2.status, app_at_v2.jobs()
    app.scale_operator(2)
    with app.traffic() as traffic, traffic.during("a release by two operators"):
        app.apply({**app.app["spec"], "image": app.cluster.image("v3")})
        expect_end(app, app.cluster.image("v3"), before["stableRevision"] + 1)
    app.scale_operator(1)
    assert app.applied("9002") == ["up"]
    assert set(app.jobs()) - set(jobs) == {first_job(before["stableRevision"] + 1)}


@pytest.mark.slow
def test_where_the_leading_operator_is_killed_the_other_one_ends_its_release(serving_app: Installation) -> None:
    app = serving_app
    app.release(operator={"replicas": 2})
    leader = app.wait_for("one of them leads", lambda: holder(app))
    before = app.status  # not earlier: a test before may have left values that this first upgrade releases
    with app.traffic() as traffic, traffic.during("a release whose leading operator is killed"):
        app.upgrade(app={"config": {"NOTE": "begun by one operator, ended by another"}}, wait=False)
        app.wait_for("it has begun", lambda: app.status.get("candidateRevision") == before["stableRevision"] + 1)
        app.cluster.kube.delete(f"/api/v1/namespaces/{app.namespace}/pods/{leader}", at_once=True)
        expect_end(app, app.app["spec"]["image"], before["stableRevision"] + 1)
    assert holder(app) != leader
    app.release(operator={"replicas": 1})


def test_a_rollback_waits_for_a_database_that_is_away(app_with_a_past: Installation) -> None:
    """Far beyond its progress deadline, and what serves is left as it is."""
    app, before = app_with_a_past, app_with_a_past.status
    pods = app.pods_of(before["stableRelease"])
    former = app.former_releases()[-1]
    spec = {**app.specs[former], "progressDeadlineSeconds": 12}
    with database_away(app):
        app.apply(spec)
        waiting = "cannot be read"
        app.wait_for("the release says what it waits for", lambda: waiting in app.status["message"])
        since = time.monotonic()
        app.wait_for("its deadline is over", lambda: time.monotonic() > since + 3 * spec["progressDeadlineSeconds"])
        assert app.status["phase"] == "Progressing", app.describe()
        assert waiting in app.status["message"]
        assert app.pods_of(before["stableRelease"]) == pods
    expect_end(app, spec["image"], before["stableRevision"] + 1)


def holder(app: Installation) -> str:
    """The pod that holds the operators' Lease."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{app.namespace}/leases/{NAME}-operator"
    lease = app.cluster.kube.get(path) or {"spec": {}}
    return str(lease["spec"].get("holderIdentity", ""))


@contextmanager
def database_away(app: Installation) -> Iterator[None]:
    """New connections find nobody; PostgreSQL, whose data would go with its pod, runs on."""
    service = f"/api/v1/namespaces/{app.namespace}/services/{NAME}-postgres"
    app.cluster.kube.merge(service, {"spec": {"selector": {"away": "yes"}}})
    try:
        yield
    finally:
        app.cluster.kube.merge(service, {"spec": {"selector": {"away": None}}})


def migrating_pod(app: Installation) -> Object | None:
    """The pod of the newest migration Job, once it is in the middle of a migration."""
    for pod in app.pods(f"{JOB_PODS},inventory.dev/revision={app.status.get('candidateRevision', 0)}"):
        if pod["status"]["phase"] == "Running":
            log = app.cluster.kube.log(app.pod_path(pod))
            if "migration starts" in log:
                return pod
    return None


def first_job(revision: int) -> str:
    return f"{NAME}-{revision}-expand-1"


def expect_end(app: Installation, image: str, revision: int) -> Object:
    """The status, which must be what an undisturbed release ends with."""
    status = app.wait_until_serving()
    stable = status["stableRelease"]
    assert status["stableRevision"] == revision
    assert status["history"][0]["image"] == image
    assert [entry["outcome"] for entry in status["history"]].count("Stable") == 1
    assert app.service_selector()["inventory.dev/release"] == stable
    replicas = {release: each["spec"]["replicas"] for release, each in app.deployments().items()}
    assert replicas == {release: 2 if release == stable else 0 for release in replicas}
    return status


class OperatorKiller:
    """Kills the operator's pod at random moments as long as the block lasts, a few times at most."""

    def __init__(self, app: Installation, chance: random.Random) -> None:
        self._app = app
        self._chance = chance
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.kills = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if error is None:
            print(f"the operator was killed {self.kills} times")
            assert self.kills

    def _run(self) -> None:
        """The first one soon: a rollback takes a few seconds."""
        pause = self._chance.uniform(0, 1.5)
        while self.kills < KILLS and not self._ended.wait(pause):
            pause = self._chance.uniform(0.2, 5)
            for pod in self._app.pods(OPERATOR_PODS):
                self._app.cluster.kube.delete(self._app.pod_path(pod), at_once=True)
                self.kills += 1
