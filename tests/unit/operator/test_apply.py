"""What actions write."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from inventory_operator import manifests, observe
from inventory_operator.actions import Action, ApplyService, CreateJob, Emit, EndTraffic, SetTraffic, UpdateDeployment
from inventory_operator.apply import OutdatedError, apply, tell
from inventory_operator.kube import APPLY, MERGE, STRATEGIC, ApiError
from inventory_operator.model import App, Deployment, Migrations, Record, Router, Stage, Strategy

from .api_server import ApiServer, Write
from .world import START, an_app

NAMESPACE = "/namespaces/shop"
INGRESS = observe.ingress_path("shop", "shop")
CANARY = observe.ingress_path("shop", "inventory-canary")
ROUTE = observe.route_path("shop", "shop")
NOT_INSTALLED = ApiError(404, "404 page not found")


def by(kind: str) -> App:
    return an_app(strategy=Strategy("canary", router=Router(kind, "shop")))


def a_server() -> ApiServer:
    rules = [{"backendRefs": [{"name": "inventory", "port": 80, "weight": 1}], "name": "ours"}]
    return ApiServer(
        {
            INGRESS: {"metadata": {"name": "shop"}, "spec": {"defaultBackend": {"service": {"name": "inventory"}}}},
            ROUTE: {"metadata": {"name": "shop", "resourceVersion": "42"}, "spec": {"rules": rules}},
        }
    )


async def written(server: ApiServer, app: App, *actions: Action) -> list[Write]:
    telling: list[Emit] = []
    try:
        await apply(server, app, actions, START, telling)
    finally:
        await tell(server, app, telling, START)
    return server.written


async def test_a_weight_for_nginx_is_a_canary_ingress_beside_the_users() -> None:
    [write] = await written(a_server(), by("ingress"), SetTraffic(30))
    assert (write.method, write.path, write.kind) == ("PATCH", CANARY, APPLY)
    assert write.body["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] == "30"


async def test_at_the_end_the_canary_ingress_goes_and_the_users_is_not_touched() -> None:
    [write] = await written(a_server(), by("ingress"), EndTraffic())
    assert (write.method, write.path) == ("DELETE", CANARY)


async def test_a_weight_in_a_route_is_written_for_the_version_that_was_read() -> None:
    [write] = await written(a_server(), by("httpRoute"), SetTraffic(30))
    assert (write.method, write.path, write.kind) == ("PATCH", ROUTE, MERGE)
    assert write.body["metadata"] == {"resourceVersion": "42"}
    assert write.body["spec"] == {
        "rules": [
            {
                "name": "ours",
                "backendRefs": [
                    {"name": "inventory", "port": 80, "weight": 70},
                    {"name": "inventory-candidate", "port": 80, "weight": 30},
                ],
            }
        ]
    }


async def test_a_route_that_is_as_it_should_be_is_not_written() -> None:
    assert await written(a_server(), by("httpRoute"), EndTraffic()) == []


async def test_at_the_end_the_route_belongs_to_nobody_but_its_owner() -> None:
    server = a_server()
    theirs = {"manager": "helm", "operation": "Apply"}
    server.objects[ROUTE]["metadata"]["managedFields"] = [theirs, {"manager": "inventory-operator"}]
    [write] = await written(server, by("httpRoute"), EndTraffic())
    assert write.body == {"metadata": {"resourceVersion": "42", "managedFields": [theirs]}}


async def test_a_route_that_somebody_changed_meanwhile_is_observed_again() -> None:
    class Conflicting(ApiServer):
        async def merge(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            raise ApiError(409, "the object has been modified")

    with pytest.raises(OutdatedError, match="has been modified"):
        await written(Conflicting(a_server().objects), by("httpRoute"), SetTraffic(1))


@pytest.mark.parametrize("kind", ["ingress", "httpRoute"])
async def test_what_has_gone_since_it_was_observed_is_observed_again(kind: str) -> None:
    with pytest.raises(OutdatedError):
        await written(ApiServer(), by(kind), SetTraffic(1))
    await written(ApiServer(), by(kind), EndTraffic())  # our part has gone with it


async def test_a_cluster_without_the_gateway_api_says_so() -> None:
    server = a_server()
    server.refused["/httproutes/"] = NOT_INSTALLED
    with pytest.raises(ApiError, match="install the CRDs of the Gateway API") as refused:
        await written(server, by("httpRoute"), SetTraffic(1))
    assert refused.value.status == 422
    await written(server, by("httpRoute"), EndTraffic())


async def test_a_cluster_without_cloudnativepg_says_so() -> None:
    server = ApiServer(refused={"/backups": NOT_INSTALLED})
    app = an_app(migrations=Migrations("owner", backup={"cloudNativePG": {"cluster": "pg"}}))
    with pytest.raises(ApiError, match="install CloudNativePG") as refused:
        await written(server, app, CreateJob("abc", 1, 1, "a:1", step="backup1", job={}))
    assert refused.value.status == 422


async def test_a_job_that_the_spec_no_longer_provides_for_is_a_sentence_about_the_spec() -> None:
    with pytest.raises(ApiError, match=r"Job backup1 of revision 1 can't be made: the app has no backup") as refused:
        await written(ApiServer(), an_app(), CreateJob("abc", 1, 1, "a:1", step="backup1", job={}))
    assert refused.value.status == 422


async def test_a_backup_of_cloudnativepg_is_made_where_its_kind_lives() -> None:
    app = an_app(migrations=Migrations("owner", backup={"cloudNativePG": {"cluster": "pg"}}))
    jobs = (CreateJob("abc", 1, 1, "a:1"), CreateJob("abc", 1, 1, "a:1", step="backup1", job={}))
    found = await written(ApiServer(), app, *jobs)
    assert [(write.method, write.path) for write in found] == [
        ("POST", f"/apis/batch/v1{NAMESPACE}/jobs"),
        ("POST", f"/apis/postgresql.cnpg.io/v1{NAMESPACE}/backups"),
    ]


@pytest.mark.parametrize(
    ("theirs", "error", "said"),
    [
        ({"whose": "theirs"}, ApiError, "Job inventory-1-expand-1 has another owner"),
        ({"inventory.dev/app": "inventory"}, OutdatedError, "already exists"),  # the next look at the app shows it
    ],
)
async def test_a_name_that_is_taken_is_said_where_no_look_at_the_app_shows_by_whom(
    theirs: dict[str, str], error: type[Exception], said: str
) -> None:
    class Taken(ApiServer):
        async def request(self, method: str, path: str, *words: Any, **query: Any) -> dict[str, Any]:
            if method == "POST":
                raise ApiError(409, "already exists")
            assert (query["labelSelector"], query["fieldSelector"]) == (
                "inventory.dev/app!=inventory",
                "metadata.name=inventory-1-expand-1",
            )
            found = [] if theirs.get("inventory.dev/app") == "inventory" else [{"metadata": {"labels": theirs}}]
            return {"items": found}

    with pytest.raises(error, match=said):
        await written(Taken(), an_app(), CreateJob("abc", 1, 1, "a:1"))


async def test_the_candidates_service_is_another_one_than_the_apps() -> None:
    found = await written(ApiServer(), an_app(), ApplyService("abc"), ApplyService("def", candidate=True))
    assert [
        (write.path.rpartition("/")[2], write.body["spec"]["selector"]["inventory.dev/release"]) for write in found
    ] == [
        ("inventory", "abc"),
        ("inventory-candidate", "def"),
    ]
    # Monitors select Services by it: each pod counts once.
    components = [write.body["metadata"]["labels"]["app.kubernetes.io/component"] for write in found]
    assert components == ["service", "candidate"]


async def test_a_restart_and_a_new_number_are_one_change_of_the_pod_template() -> None:
    record = Record(1, Stage.PROMOTED, START, "a:1")
    deployment = Deployment("inventory-abc", "abc", record, 0, 0, 0, True, True, False, "42", "a:1", 1)
    update = UpdateDeployment(
        deployment, record=replace(record, revision=2, ended=START + timedelta(1)), restarted="digest 1/now"
    )
    [write] = await written(ApiServer(), an_app(), update)
    assert write.kind == STRATEGIC
    assert write.body["metadata"]["resourceVersion"] == "42"
    assert write.body["spec"]["template"]["metadata"] == {
        "labels": {"inventory.dev/revision": "2"},
        "annotations": {manifests.ANNOTATION_RESTARTED: "digest 1/now"},
    }
    [plain] = await written(ApiServer(), an_app(), replace(update, restarted=None, record=None, replicas=3))
    assert plain.body["spec"] == {"replicas": 3}


async def test_pods_that_are_kept_warm_are_not_replaced_when_their_release_comes_back() -> None:
    again = Record(3, Stage.MIGRATING, START, "api:1")
    for replicas, relabelled in ((2, False), (0, True)):
        warm = Deployment(
            "inventory-abc", "abc", again, replicas, replicas, replicas, True, True, False, "7", "api:1", 1
        )
        [write] = await written(a_server(), an_app(), UpdateDeployment(warm, record=again))
        assert ("spec" in write.body) == relabelled


async def test_what_is_done_before_something_fails_is_told_and_what_comes_after_it_is_not() -> None:
    server = ApiServer(refused={"/services/": ApiError(409, "it has changed")})
    done, after = Emit("Normal", "Promoted", "revision 2 serves"), Emit("Normal", "Cleaned", "nothing is left")
    with pytest.raises(OutdatedError):
        await written(server, an_app(), done, ApplyService(None), after)
    assert [write.body["reason"] for write in server.written] == ["Promoted"]


async def test_an_event_that_is_refused_stops_nothing() -> None:
    server = ApiServer(refused={"/events": ApiError(403, "no more of them")})
    found = await written(server, an_app(), Emit("Normal", "Promoted", "revision 2 serves"), ApplyService(None))
    assert [write.path.rpartition("/")[2] for write in found] == ["inventory"]
