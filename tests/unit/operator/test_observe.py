"""What a pass reads of the cluster, and what it makes of it."""

from dataclasses import replace
from typing import Any

import pytest
from inventory_operator import job_manifests, manifests, observe, routing
from inventory_operator.actions import CreateJob
from inventory_operator.kube import ApiError
from inventory_operator.model import Migrations, Observed, Record, Stage, Traffic

from .api_server import ApiServer
from .world import START

NAMESPACE = "/namespaces/shop"
APP = f"/apis/inventory.dev/v1alpha1{NAMESPACE}/inventoryapps/inventory"
BACKUPS = f"/apis/postgresql.cnpg.io/v1{NAMESPACE}/backups"
NOT_INSTALLED = ApiError(404, "404 page not found")
FORBIDDEN = ApiError(403, "is forbidden")
CNPG = {"secret": "owner", "backup": {"cloudNativePG": {"cluster": "pg"}}}


def a_server(**spec: Any) -> ApiServer:
    meta = {"name": "inventory", "namespace": "shop", "uid": "uid-1", "generation": 1}
    return ApiServer({APP: {"metadata": meta, "spec": {"image": "a:1", **spec}}})


def with_secrets(*names: str, **spec: Any) -> ApiServer:
    server = a_server(secrets=list(names), **spec)
    for name in names:
        server.objects[f"/api/v1{NAMESPACE}/secrets/{name}"] = {"metadata": {"name": name}, "data": {"A": "Yg=="}}
    return server


async def observed(server: ApiServer) -> Observed:
    found = await observe.observe(server, "shop", "inventory")
    assert found is not None
    return found


async def digest(server: ApiServer) -> str:
    return (await observed(server)).app.secrets


async def test_an_app_that_is_gone_is_none() -> None:
    assert await observe.observe(ApiServer(), "shop", "inventory") is None


async def test_an_app_without_a_router_costs_no_more_reads_than_it_needs() -> None:
    server = with_secrets("service", migrations={"secret": "owner"})
    await observed(server)
    assert sorted(path.rpartition("/shop/")[2] for path in server.read) == [
        "deployments",
        "inventoryapps/inventory",
        "jobs",
        "pods",
        "secrets/service",
        "services/inventory",
    ]


async def test_the_owners_secret_is_never_read() -> None:
    server = with_secrets("service", migrations=CNPG)
    await observed(server)
    assert not [path for path in server.read if path.endswith("/owner")]


async def test_the_digest_of_secrets_changes_with_their_data_and_with_nothing_else() -> None:
    first = await digest(with_secrets("a", "b"))
    assert first
    assert await digest(with_secrets("b", "a")) == first
    relabelled = with_secrets("a", "b")
    relabelled.objects[f"/api/v1{NAMESPACE}/secrets/a"]["metadata"] |= {"labels": {"x": "y"}, "resourceVersion": "9"}
    assert await digest(relabelled) == first
    for change in ({"A": "Yw=="}, {"B": "Yg=="}, {"A": "Yg==", "B": ""}, {}):
        rotated = with_secrets("a", "b")
        rotated.objects[f"/api/v1{NAMESPACE}/secrets/b"]["data"] = change
        assert await digest(rotated) != first
    assert await digest(with_secrets("a")) != first


async def test_what_an_app_keeps_of_a_secret_is_not_its_value() -> None:
    server = with_secrets("a")
    server.objects[f"/api/v1{NAMESPACE}/secrets/a"]["data"] = {"A": "c2VjcmV0"}
    found = repr(await observed(server))
    assert "c2VjcmV0" not in found


async def test_secrets_that_cannot_be_read_have_no_digest() -> None:
    forbidden = with_secrets("a")
    forbidden.refused["/secrets/"] = FORBIDDEN
    assert await digest(forbidden) == ""
    missing = with_secrets("a", "b")
    del missing.objects[f"/api/v1{NAMESPACE}/secrets/b"]
    assert await digest(missing) == ""
    assert await digest(a_server()) == ""


async def test_secrets_are_read_only_when_pods_may_be_started_and_none_are_awaited() -> None:
    server = with_secrets("a")
    app = (await observed(server)).app
    made = manifests.deployment(app, app.release, Record(1, Stage.PROMOTED, START, "a:1"))
    made["metadata"] |= {"generation": 1, "resourceVersion": "1"}
    server.objects[f"/apis/apps/v1{NAMESPACE}/deployments/inventory-{app.release}"] = made
    at_zero = await digest(server)
    made["spec"]["replicas"] = 2
    made["status"] = {"readyReplicas": 1}
    awaited = await digest(server)
    made["status"] = {"readyReplicas": 2}
    assert (at_zero, awaited, await digest(server)) == (app.secrets, "", app.secrets)
    job = job_manifests.job(replace(app, migrations=Migrations("owner")), CreateJob("abc", 2, 1, "a:2"))
    job["metadata"] |= {"uid": "uid-2", "creationTimestamp": "2026-01-01T00:00:00Z"}
    server.objects[f"/apis/batch/v1{NAMESPACE}/jobs/2"] = job
    assert await digest(server) == ""
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert await digest(server) == app.secrets


async def test_an_api_server_in_trouble_is_not_taken_for_a_right_that_lacks() -> None:
    for part in ("/secrets/", "/httproutes/"):
        server = with_secrets("a", strategy={"canary": {"httpRoute": {"name": "shop"}}})
        server.refused[part] = ApiError(500, "etcd is away")
        with pytest.raises(ApiError, match="etcd is away"):
            await observed(server)


@pytest.mark.parametrize("strategy", [{"canary": {}}, {"blueGreen": {}}])
async def test_the_candidates_service_is_read_where_a_strategy_has_one(strategy: dict[str, Any]) -> None:
    server = a_server(strategy=strategy)
    app = (await observed(server)).app
    path = f"/api/v1{NAMESPACE}/services/inventory-candidate"
    server.objects[path] = manifests.service(app, "abc", candidate=True)
    found = (await observed(server)).candidate_service
    assert found is not None
    assert (found.release, found.as_wanted) == ("abc", True)
    del server.objects[path]["metadata"]["ownerReferences"]
    assert (await observed(server)).foreign == ("Service inventory-candidate",)


async def test_a_canary_ingress_of_somebody_else_is_in_the_way() -> None:
    server = a_server(strategy={"canary": {"ingress": {"name": "shop"}}})
    server.objects[observe.ingress_path("shop", "shop")] = {
        "metadata": {"name": "shop"},
        "spec": {"defaultBackend": {"service": {"name": "inventory"}}},
    }
    app = (await observed(server)).app
    made = routing.canary_ingress(app, server.objects[observe.ingress_path("shop", "shop")], 30)
    server.objects[observe.ingress_path("shop", "inventory-canary")] = made
    found = await observed(server)
    assert (found.traffic, found.foreign) == (Traffic(30, present=True), ())
    del made["metadata"]["ownerReferences"]
    assert (await observed(server)).foreign == ("Ingress inventory-canary",)


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (NOT_INSTALLED, "the CRDs of the Gateway API (v1) aren't installed"),
        (FORBIDDEN, "the operator may not read it: is forbidden"),
        (ApiError(404, 'httproutes.gateway.networking.k8s.io "shop" not found'), "HTTPRoute shop is not there"),
    ],
)
async def test_a_route_that_cannot_be_read_is_trouble_of_the_traffic_alone(error: ApiError, trouble: str) -> None:
    server = a_server(strategy={"canary": {"httpRoute": {"name": "shop"}}})
    server.refused["/httproutes/"] = error
    traffic = (await observed(server)).traffic
    assert traffic is not None
    assert trouble in traffic.trouble


async def test_backups_of_releases_that_are_kept_are_jobs() -> None:
    server = a_server(migrations=CNPG)
    app = (await observed(server)).app
    deployment = manifests.deployment(app, "abc", Record(2, Stage.PROMOTED, START, "a:1"))
    deployment["metadata"] |= {"generation": 1, "resourceVersion": "1"}
    server.objects[f"/apis/apps/v1{NAMESPACE}/deployments/inventory-abc"] = deployment
    for revision in (1, 2):
        backup = job_manifests.job(app, CreateJob("abc", revision, 1, "a:1", step="backup1"))
        backup["metadata"] |= {"uid": f"uid-{revision}", "creationTimestamp": "2026-01-01T00:00:00Z"}
        server.objects[f"{BACKUPS}/{revision}"] = backup
    found = await observed(server)
    assert [job.name for job in found.jobs] == ["inventory-2-backup1-1"]
    assert [pod.owner for pod in found.pods] == ["uid-2"]
    del server.objects[f"{BACKUPS}/2"]["metadata"]["ownerReferences"]
    assert (await observed(server)).foreign == ("Backup inventory-2-backup1-1",)


@pytest.mark.parametrize("error", [NOT_INSTALLED, FORBIDDEN])
async def test_without_cloudnativepg_there_are_no_backups_and_the_rest_goes_on(error: ApiError) -> None:
    server = a_server(migrations=CNPG)
    server.refused["/backups"] = error
    assert (await observed(server)).jobs == ()


async def test_a_release_begins_with_what_its_pods_will_have_been_started_with() -> None:
    server = with_secrets("a")
    app = (await observed(server)).app
    deployment = manifests.deployment(app, "abc", Record(1, Stage.MIGRATING, START, "a:1"))
    deployment["metadata"] |= {"generation": 1, "resourceVersion": "1"}
    server.objects[f"/apis/apps/v1{NAMESPACE}/deployments/inventory-abc"] = deployment
    [found] = (await observed(server)).deployments
    assert found.restarted == app.secrets


async def test_each_release_has_the_digest_of_its_own_secrets() -> None:
    server = with_secrets("a", "b")
    asked = server.objects[APP]["spec"]
    for number, names in enumerate((["a"], ["a", "b"])):
        asked["secrets"] = names
        app = (await observed(server)).app
        made = manifests.deployment(app, app.release, Record(number + 1, Stage.PROMOTED, START, "a:1"), 1)
        made["metadata"] |= {"generation": 1, "resourceVersion": "1"}
        server.objects[f"/apis/apps/v1{NAMESPACE}/deployments/{number}"] = {**made, "status": {"readyReplicas": 1}}
    before = await observed(server)
    server.objects[f"/api/v1{NAMESPACE}/secrets/b"]["data"] = {"A": "bmV3"}
    one, both = (
        (b.secrets, a.secrets) for b, a in zip(before.deployments, (await observed(server)).deployments, strict=True)
    )
    assert one[0] == one[1] != ""
    assert "" != both[0] != both[1] != ""
    assert before.app.secrets == both[0]


@pytest.mark.parametrize(
    ("strategy", "count"),
    [({}, 4), ({"blueGreen": {}}, 3), ({"canary": {"ingress": {"name": "x"}, "dynamicStableScale": True}}, 4)],
)
async def test_a_count_that_the_spec_leaves_out_is_that_of_the_pods_that_share_the_requests(
    strategy: dict[str, Any], count: int
) -> None:
    server = a_server(strategy=strategy)
    app = (await observed(server)).app
    for release, stage, replicas in (("old", Stage.PROMOTED, 3), ("new", Stage.ROLLING, 1)):
        made = manifests.deployment(app, release, Record(len(server.objects), stage, START, "a:1"), replicas)
        made["metadata"] |= {"generation": 1, "resourceVersion": "1"}
        server.objects[f"/apis/apps/v1{NAMESPACE}/deployments/{release}"] = made
    assert (await observed(server)).app.replicas == count


async def test_commands_are_read_from_the_annotations() -> None:
    server = a_server()
    server.objects[APP]["metadata"]["annotations"] = {"inventory.dev/abort": "7", "other": "x"}
    assert (await observed(server)).app.commands == {"abort": "7"}


class Lagging(ApiServer):
    """Whose first list of pods is of a moment ago."""

    before: dict[str, Any]

    async def list(self, path: str, selector: str = "", *, consistent: bool = False) -> list[dict[str, Any]]:
        found = await super().list(path, selector)
        return found if consistent or not path.endswith("/pods") else [self.before]


def a_pod(labels: dict[str, str], owner: str, **status: Any) -> dict[str, Any]:
    meta = {"name": "p", "uid": "uid-p", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels}
    return {"metadata": {**meta, "ownerReferences": [{"uid": owner}]}, "status": status}


def ready(status: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}


async def a_deployment(ready: int) -> dict[str, Any]:
    app = (await observed(a_server())).app
    deployment = manifests.deployment(app, "abc", Record(1, Stage.ROLLING, START, "a:1"), 1)
    deployment["metadata"] |= {"generation": 1, "resourceVersion": "1"}
    return {**deployment, "status": {"readyReplicas": ready}}


async def looked_twice_for_pods(deployment: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the pods of now were asked for; those of a moment ago are seen else."""
    server = Lagging(a_server().objects)
    server.objects[f"/apis/apps/v1{NAMESPACE}/deployments/a"] = deployment
    server.objects[f"/api/v1{NAMESPACE}/pods/p"] = after
    server.before = before
    found = (await observed(server)).pods
    again = sum(path.endswith("/pods") for path in server.read) == 2
    assert found == (observe.parse_pod(after if again else before),)
    return again


async def test_pods_are_at_least_as_new_as_what_a_deployment_tells_of_them() -> None:
    deployment = await a_deployment(ready=1)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ready_pod, unready = (a_pod(labels, "uid-r", **ready(status)) for status in ("True", "False"))
    assert await looked_twice_for_pods(deployment, unready, ready_pod)
    assert not await looked_twice_for_pods(deployment, ready_pod, ready_pod)
    deployment["spec"]["replicas"] = 0  # what the status still counts is going
    assert not await looked_twice_for_pods(deployment, unready, ready_pod)


async def test_what_a_deployment_has_not_counted_yet_is_not_asked_for_again() -> None:
    """An event tells when it has; to ask would take up to 100 ms of every release."""
    deployment = await a_deployment(ready=0)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    pod = a_pod(labels, "uid-r", **ready("True"))
    assert not await looked_twice_for_pods(deployment, pod, pod)


@pytest.mark.parametrize("end", ["Complete", "Failed"])
async def test_the_last_words_of_a_job_are_there_when_it_has_ended(end: str) -> None:
    server = Lagging(a_server().objects)
    app = replace((await observed(a_server())).app, migrations=Migrations("owner"))
    job = job_manifests.job(app, CreateJob("abc", 2, 1, "a:2"))
    job["metadata"] |= {"uid": "uid-2", "creationTimestamp": "2026-01-01T00:00:00Z"}
    job["status"] = {"conditions": [{"type": end, "status": "True"}]}
    labels = job["spec"]["template"]["metadata"]["labels"]
    said = [{"state": {"terminated": {"message": "done"}}}]
    server.objects |= {
        f"/apis/batch/v1{NAMESPACE}/jobs/2": job,
        f"/api/v1{NAMESPACE}/pods/p": a_pod(labels, "uid-2", phase="Succeeded", containerStatuses=said),
    }
    server.before = a_pod(labels, "uid-2", phase="Running")
    assert [pod.termination_message for pod in (await observed(server)).pods] == ["done"]
