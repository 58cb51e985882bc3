"""Failures that other tools have had, where a cluster has its part in them: docs/failure-modes.md has all sixteen."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import pytest
import yaml
from inventory_operator.model import release_content, release_hash

from tests.cluster.cluster import CRD, Cluster
from tests.cluster.installation import NAME, SERVICE_PODS, Installation, is_ready, succeed
from tests.cluster.kube import Object
from tests.cluster.test_interruption import expect_end, first_job, migrating_pod

pytestmark = pytest.mark.slow

LOCK_KEY = 0x696E76656E746F72
"""Of the migrations; a person who migrates by hand has it too."""
MIGRATING = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'inventory-migration/%'"


def test_a_release_goes_through_although_every_watch_is_dead(serving_app: Installation) -> None:
    app, before = serving_app, serving_app.status
    with without_watches(app), app.traffic() as traffic, traffic.during("a release that no watch tells of"):
        app.apply(with_note(app, "heard of by a list alone"))
        expect_end(app, app.app["spec"]["image"], before["stableRevision"] + 1)


def test_fields_that_an_older_crd_prunes_are_missed_and_a_release_goes_on(
    serving_app: Installation, older_crd: str
) -> None:
    app, before = serving_app, serving_app.status
    with app.traffic() as traffic, traffic.during("a release under an older CRD"):
        app.apply(with_note(app, "under an older CRD"))
        status = expect_end(app, app.app["spec"]["image"], before["stableRevision"] + 1)
    assert older_crd not in status
    app.cluster.kubectl(*APPLY_CRD, str(CRD))
    app.kubectl("annotate", f"inventoryapp/{NAME}", "look=again", "--overwrite")
    app.wait_for("the newer CRD has it back", lambda: older_crd in app.status)


def test_a_migration_job_that_is_deleted_midway_begins_again_and_is_applied_once(app_at_v2: Installation) -> None:
    app, revision = app_at_v2, app_at_v2.status["stableRevision"] + 1
    with app.traffic() as traffic, traffic.during("a release whose migration Job is deleted"):
        succeed(app, app.upgrade("slow-migration", wait=False))
        victim = app.wait_for("the migration runs", lambda: migrating_pod(app))
        app.kubectl("delete", "job", first_job(revision), "--wait=false")
        expect_end(app, app.cluster.image("slow-migration"), revision)
    assert app.applied("9002") == ["up"]
    assert victim["metadata"]["uid"] not in {
        pod["metadata"]["uid"] for pod in app.pods(f"job-name={first_job(revision)}")
    }


def test_a_migration_pod_that_takes_long_to_end_has_no_successor_before_it_has_ended(
    serving_app: Installation,
) -> None:
    """Its session hangs in the database, so that the command can't end it when the pod is told to go."""
    app, revision = serving_app, serving_app.status["stableRevision"] + 1
    job = {"job-name": first_job(revision)}
    record = app.cluster.kube.recorder(f"/api/v1/namespaces/{app.namespace}/pods", seconds=1)
    with app.traffic() as traffic, traffic.during("a migration pod that takes long to end"):
        with lock_held(app):
            app.apply(with_note(app, "migrated by a pod that takes long to end"))
            with session_that_hangs(app):
                [victim] = app.pods(f"job-name={first_job(revision)}")
                app.cluster.kube.delete(app.pod_path(victim))
                app.wait_for("its Job knows", lambda: job_status(app, first_job(revision)).get("terminating") == 1)
        expect_end(app, app.app["spec"]["image"], revision)
    seen = list(moments(record(), job))
    assert max(sum(map(is_unfinished, pods)) for pods in seen) == 1
    assert len({pod["metadata"]["uid"] for pods in seen for pod in pods}) == 2


@pytest.mark.parametrize("kind", ["Job", "Deployment"])
def test_a_name_that_somebody_else_uses_is_said_and_left_alone(serving_app: Installation, kind: str) -> None:
    app, revision = serving_app, serving_app.status["stableRevision"] + 1
    spec = with_note(app, f"beside a {kind} of somebody else")
    name = first_job(revision) if kind == "Job" else f"{NAME}-{release_hash(release_content(spec))}"
    path = f"/apis/{'batch' if kind == 'Job' else 'apps'}/v1/namespaces/{app.namespace}/{kind.lower()}s"
    theirs = app.cluster.kube.request("POST", path, somebody_elses(kind, name))
    with app.traffic() as traffic, traffic.during(f"a {kind} in the way"):
        app.apply(spec)
        status = app.wait_until_failed("InvalidSpec")
        assert f"{kind} {name} has another owner" in status["message"]
        left = app.cluster.kube.get(f"{path}/{name}")
        assert left
        assert left["metadata"]["uid"] == theirs["metadata"]["uid"]
        app.cluster.kube.delete(f"{path}/{name}")
        expect_end(app, app.app["spec"]["image"], revision)


def test_a_release_waits_while_another_run_holds_the_migration_lock_and_then_goes_on(serving_app: Installation) -> None:
    app, before = serving_app, serving_app.status
    with app.traffic() as traffic, traffic.during("a release that waits for the migration lock"):
        with lock_held(app):
            app.apply(with_note(app, "waited for the lock", databaseWaitSeconds=2))
            app.wait_for("it says so", lambda: "another migration run held the lock" in app.status["message"])
            assert app.status["phase"] == "Migrating"
        expect_end(app, app.app["spec"]["image"], before["stableRevision"] + 1)


def test_a_release_that_arrives_during_another_ones_migration_waits_for_it_and_runs_its_own(
    serving_app: Installation,
) -> None:
    app, before = serving_app, serving_app.status
    second, third = (first_job(before["stableRevision"] + each) for each in (1, 2))
    with app.traffic() as traffic, traffic.during("a release that supersedes another"):
        with lock_held(app):
            app.apply(with_note(app, "superseded"))
            app.wait_for("its Job runs", lambda: pod_runs(app, second))
            app.apply(with_note(app, "the one that counts"))
            app.wait_for("the next one waits for it", lambda: f"the end of Job {second}" in app.status["message"])
            assert third not in app.jobs()
        status = expect_end(app, app.app["spec"]["image"], before["stableRevision"] + 2)
    assert status["history"][1]["outcome"] == "Left"
    assert {second, third} <= set(app.jobs())


def test_an_autoscaler_in_mid_canary_leaves_both_releases_their_shares(serving_app: Installation) -> None:
    app, replicas = serving_app, serving_app.app["spec"]["replicas"]
    with app.traffic() as traffic, traffic.during("a canary that an autoscaler meets"), canary(app, {"pause": {}}):
        app.edit(config={"NOTE": "a canary for an autoscaler"})
        status = app.wait_until_waiting("AwaitingPromotion")
        both = status["stableRelease"], status["candidateRelease"]
        assert [len(app.pods_of(release)) for release in both] == [1, 1]
        with autoscaler(app, least=4):
            app.wait_for("both have grown", lambda: [ready_pods(app, release) for release in both] == [2, 2])
            app.order("abort", str(status["candidateRevision"]))
            app.wait_until_failed("Aborted")
            app.wait_for("stable has all pods", lambda: [ready_pods(app, release) for release in both] == [4, 0])
        app.edit(config={"NOTE": "without an autoscaler"}, replicas=replicas)
        app.order("promote-full", str(status["candidateRevision"] + 1))
        app.wait_until_serving()


def test_while_prometheus_is_away_a_candidate_is_held_and_never_promoted(serving_app: Installation) -> None:
    app, before = serving_app, serving_app.status
    metric = {"name": "any", "query": "vector(0)", "success": {"max": 1}, "intervalSeconds": 1, "inconclusiveLimit": 1}
    judge = {"prometheus": {"address": "http://127.0.0.1:9"}, "metrics": [metric]}
    with (
        app.traffic() as traffic,
        traffic.during("a canary that nobody can judge"),
        canary(app, {"analysis": {}}, analysis=judge),
    ):
        app.edit(config={"NOTE": "judged by nobody"})
        status = app.wait_until_waiting("AnalysisInconclusive")
        assert (status["stableRevision"], status["weight"]) == (before["stableRevision"], 50)
        app.order("promote", f"{status['candidateRevision']}/2")
        app.wait_until_serving()


# --- what is in the way -------------------------------------------------------------------------------------------


@contextmanager
def without_watches(app: Installation) -> Iterator[None]:
    """An operator that may not watch anything: its watchers end, and nothing tells it of a change."""
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{app.namespace}/roles/{NAME}-operator"
    rules = app.cluster.kube.request("GET", role)["rules"]
    deaf = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "watch"]} for rule in rules]
    app.cluster.kube.merge(role, {"rules": deaf})
    restart_operator(app)
    try:
        yield
    finally:
        app.cluster.kube.merge(role, {"rules": rules})
        restart_operator(app)


def restart_operator(app: Installation) -> None:
    app.scale_operator(0)
    app.scale_operator(1)


APPLY_CRD = ("apply", "--server-side", "--force-conflicts", "--field-manager=inventory-operator", "--filename")


@pytest.fixture
def older_crd(cluster: Cluster, serving_app: Installation) -> Iterator[str]:
    """The name of a field of the status that the cluster's CRD doesn't know for the time of the test."""
    crd = yaml.safe_load(CRD.read_text())
    field = "message"
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    del schema[field]
    cluster.kubectl(*APPLY_CRD, "-", stdin=json.dumps(crd))
    yield field
    cluster.kubectl(*APPLY_CRD, str(CRD))


@contextmanager
def lock_held(app: Installation) -> Iterator[None]:
    """Somebody is in the middle of migrating by hand."""
    psql = "PGPASSWORD=$POSTGRES_PASSWORD exec psql -h 127.0.0.1 -U postgres -Atq inventory"
    words = ("exec", "-i", f"{NAME}-postgres-0", "--namespace", app.namespace, "--", "sh", "-c", psql)
    with app.cluster.start("kubectl", *words) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"SELECT pg_advisory_lock({LOCK_KEY});\n\\echo held\n")
        process.stdin.flush()
        assert process.stdout.readline() == "\n"  # what the function returns: nothing
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate("\\q\n", timeout=30)


@contextmanager
def session_that_hangs(app: Installation) -> Iterator[None]:
    """The database's end of a migration that waits for the lock does nothing, and its client has asked it something."""
    pid = app.wait_for("it is connected", lambda: asked(app, MIGRATING))
    postgres = ("exec", f"{NAME}-postgres-0", "--", "sh", "-c")
    app.kubectl(*postgres, f"kill -STOP {pid}")
    try:
        # It asks for the lock every second, which the server tells of if it can.
        app.wait_for("it gets no answer", lambda: asked(app, f"{MIGRATING} AND now() - query_start > interval '3 s'"))
        yield
    finally:
        app.kubectl(*postgres, f"kill -CONT {pid}")


def asked(app: Installation, sql: str) -> str:
    """What the superuser of the chart's PostgreSQL gets to see."""
    psql = ("psql", "--no-psqlrc", "-At", "--username=postgres", "--dbname=inventory", f"--command={sql}")
    return app.kubectl("exec", f"{NAME}-postgres-0", "--", *psql).strip()


@contextmanager
def canary(app: Installation, step: Object, **judge: object) -> Iterator[None]:
    """A strategy of half of the pods, and a step after that, for some time."""
    rolling = app.app["spec"]["strategy"]["rolling"]
    app.edit(strategy={"rolling": None, "canary": {"steps": [{"weight": 50}, step]}}, **judge)
    try:
        yield
    finally:
        app.edit(strategy={"rolling": rolling, "canary": None}, **dict.fromkeys(judge))


@contextmanager
def autoscaler(app: Installation, least: int) -> Iterator[None]:
    """One that wants so many pods at once, whatever they have to do."""
    path = f"/apis/autoscaling/v2/namespaces/{app.namespace}/horizontalpodautoscalers"
    target = {"apiVersion": "inventory.dev/v1alpha1", "kind": "InventoryApp", "name": NAME}
    spec = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": least}
    app.cluster.kube.request("POST", path, {"metadata": {"name": NAME}, "spec": spec})
    yield
    app.cluster.kube.delete(f"{path}/{NAME}")


def somebody_elses(kind: str, name: str) -> Object:
    """An object that runs nothing, and has none of our labels."""
    pod = {"containers": [{"name": "a", "image": "none"}], "restartPolicy": "Never" if kind == "Job" else "Always"}
    template: Object = {"metadata": {"labels": {"whose": "theirs"}}, "spec": pod}
    if kind == "Job":
        return {"metadata": {"name": name}, "spec": {"suspend": True, "template": template}}
    selector = {"matchLabels": {"whose": "theirs"}}
    return {"metadata": {"name": name}, "spec": {"replicas": 0, "selector": selector, "template": template}}


# --- what is asked for, and what is seen --------------------------------------------------------------------------


def with_note(app: Installation, note: str, **migrations: object) -> Object:
    """What the app has, as another release: only its configuration differs."""
    spec: Object = app.app["spec"]
    both = {"config": {**spec["config"], "NOTE": note}, "migrations": {**spec["migrations"], **migrations}}
    return {**spec, **both}


def pod_runs(app: Installation, job: str) -> bool:
    return any(pod["status"]["phase"] == "Running" for pod in app.pods(f"job-name={job}"))


def job_status(app: Installation, job: str) -> Object:
    found = app.cluster.kube.request("GET", f"/apis/batch/v1/namespaces/{app.namespace}/jobs/{job}")
    return dict(found.get("status") or {})


def moments(events: Iterable[Object], labels: Mapping[str, str], pods: Iterable[Object] = ()) -> Iterator[list[Object]]:
    """The pods with these labels after each event of a watch; `pods` were there before."""
    there = {pod["metadata"]["uid"]: pod for pod in pods}
    for event in events:
        pod = event["object"]
        if labels.items() <= pod["metadata"].get("labels", {}).items():
            there[pod["metadata"]["uid"]] = pod
            if event["type"] == "DELETED":
                del there[pod["metadata"]["uid"]]
            yield list(there.values())


def is_unfinished(pod: Object) -> bool:
    return pod["status"]["phase"] not in ("Succeeded", "Failed")


def ready_pods(app: Installation, release: str) -> int:
    return sum(map(is_ready, app.pods(f"{SERVICE_PODS},inventory.dev/release={release}")))
