"""A pass, from what the API server has to what is written to it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from inventory_operator.actions import Emit
from inventory_operator.kube import ApiError
from inventory_operator.lease import LostLeaseError
from inventory_operator.model import App
from inventory_operator.observe import app_path, observe
from inventory_operator.reconcile import Reconciler, is_answered, resync_seconds
from inventory_operator.routing import canary_ingress
from inventory_operator.webhook import Webhook

from .api_server import ApiServer, Object

APP = app_path("shop", "inventory")
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
SERVICE = "/api/v1/namespaces/shop/services/inventory"


@dataclass
class Answering(ApiServer):
    """What is made or changed comes back as the API server has it then."""

    refused_writes: dict[str, ApiError] = field(default_factory=dict)

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Object:
        if method != "GET" and path in self.refused_writes:
            raise self.refused_writes[path]
        found = await super().request(method, path, body, kind, accept, **query)
        if path == f"{APP}/status":
            self.objects[APP] = merged(self.objects[APP], body or {})
        if path in (SERVICE, f"{SERVICE}-candidate") and method == "PATCH":
            found = merged({"metadata": {"uid": path, "resourceVersion": str(len(self.written))}}, body or {})
            self.objects[path] = found
        if path.startswith(DEPLOYMENTS) and method != "GET":
            where = path if method == "PATCH" else f"{DEPLOYMENTS}/{found['metadata']['name']}"
            self.objects[where] = merged(self.objects.get(where, {}), body or {})
            version = str(len(self.written))
            self.objects[where]["metadata"] |= {"uid": where, "resourceVersion": version, "generation": 1}
            return self.objects[where]
        return found

    def changes(self) -> list[str]:
        """What was written since the last time, in order, without Events."""
        written, self.written = self.written, []
        kinds = ("/status", "/services", "/deployments", "/jobs")
        found = ((write.method, kind[1:]) for write in written for kind in kinds if kind in write.path)
        return [f"{method} {kind}" for method, kind in found]

    def settle(self) -> None:
        """Each Deployment gets its pods, ready, and loses those that it is not to have."""
        for path, found in self.objects.items():
            if path.startswith(DEPLOYMENTS):
                count = found["spec"]["replicas"]
                counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), count)
                found["status"] = {"observedGeneration": 1, **counts}

    def told(self) -> list[str]:
        """Reasons of all Events."""
        return [write.body["reason"] for write in self.written if write.path.endswith("/events")]


class Told:
    """A webhook that remembers what it was told of."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def tell(self, app: App, event: Emit, revision: Mapping[str, int | None]) -> None:
        self.reasons.append(event.reason)


def merged(one: Object, other: Mapping[str, Any]) -> Object:
    both = {key: merged(one[key], other[key]) for key in one.keys() & other.keys() if isinstance(one[key], dict)}
    return {**one, **other, **both}


def a_server(**spec: Any) -> Answering:
    meta = {"namespace": "shop", "name": "inventory", "uid": "uid-1", "generation": 1}
    return Answering(objects={APP: {"metadata": meta, "spec": {"image": "api:1", "replicas": 2, **spec}}})


async def test_what_the_answers_tell_is_not_looked_at_again() -> None:
    server = a_server()
    await Reconciler(server).reconcile(("shop", "inventory"))
    assert server.read.count(DEPLOYMENTS) == server.read.count(APP) == 1
    [deployment] = [found for path, found in server.objects.items() if path.startswith(DEPLOYMENTS)]
    assert deployment["spec"]["replicas"] == 2
    statuses = [write for write in server.written if write.path == f"{APP}/status"]
    assert [write.body["status"]["message"] for write in statuses] == ["Revision 1 rolls out: 0 of 2 pods are ready."]


async def test_what_a_pass_has_written_itself_is_no_news() -> None:
    server = a_server()
    await Reconciler(server).reconcile(("shop", "inventory"))
    made = [found for path, found in server.objects.items() if path != APP]
    assert len(made) == 2
    assert not any(map(server.is_news, made))


async def test_what_it_has_written_but_not_planned_with_is_news() -> None:
    """That a Job is to be made wants a look of its own."""
    server = a_server(migrations={"secret": "owner"})
    await Reconciler(server).reconcile(("shop", "inventory"))
    [made] = [found for path, found in server.objects.items() if path != APP]
    assert server.is_news(made)


async def test_what_only_tells_comes_last() -> None:
    server = a_server()
    await Reconciler(server).reconcile(("shop", "inventory"))
    *others, first, second = server.written
    assert all(write.path.endswith("/events") for write in (first, second))
    assert others[-1].path == f"{APP}/status"


@pytest.mark.parametrize("reason", ["CommandRefused", "ContractBegun", "DowngradeBegun", "RestoreBegun"])
def test_what_an_operation_begins_with_is_told_before_the_next_step(reason: str) -> None:
    assert not is_answered(Emit("Normal", reason, ""))
    assert is_answered(Emit("Normal", "Promoted", ""))


class Hanging(Answering):
    """It never answers to a status."""

    def __init__(self, server: Answering) -> None:
        super().__init__(server.objects)
        self.hangs = asyncio.Event()

    async def request(self, method: str, path: str, *args: Any, **query: Any) -> Object:
        if path == f"{APP}/status":
            self.hangs.set()
            await asyncio.Event().wait()
        return await super().request(method, path, *args, **query)

    def guard(self) -> None:
        if self.hangs.is_set():
            raise LostLeaseError


async def test_a_pass_that_is_to_end_ends_though_there_is_something_that_it_may_not_tell_any_more() -> None:
    """Else its worker would take it for one that has failed, and go on without a Lease for ever."""
    server = Hanging(a_server())
    doing = asyncio.create_task(Reconciler(server, server.guard).reconcile(("shop", "inventory")))
    await asyncio.wait_for(server.hangs.wait(), 5)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert not [write for write in server.written if write.path.endswith("/events")]


async def tried(server: Answering, times: int, webhook: Told | None = None) -> Object:
    """The status after so many passes, each of which fails."""
    reconciler = Reconciler(server, webhook=cast(Webhook, webhook))
    for _ in range(times):
        with pytest.raises((ApiError, ZeroDivisionError)):
            await reconciler.reconcile(("shop", "inventory"))
    return dict(server.objects[APP]["status"])


def true(status: Object) -> dict[str, str]:
    """Reasons of the conditions that hold."""
    return {each["type"]: each["reason"] for each in status["conditions"] if each["status"] == "True"}


@pytest.mark.parametrize(
    ("refused", "error", "reason", "holds"),
    [
        (DEPLOYMENTS, ApiError(422, "no such volume"), "InvalidSpec", "Stalled"),
        (DEPLOYMENTS, ApiError(403, "exceeded quota"), "Refused", "Stalled"),
        (DEPLOYMENTS, ApiError(500, "failed calling webhook"), "ApiError", "Reconciling"),
        ("/pods", ApiError(403, "pods is forbidden"), "Refused", "Stalled"),
    ],
)
async def test_what_the_api_server_refuses_is_said_in_a_condition_and_told_once_however_often_it_is_tried(
    refused: str, error: ApiError, reason: str, holds: str
) -> None:
    server, webhook = a_server(), Told()
    server.refused = {refused: error}
    status = await tried(server, 10, webhook)
    assert true(status) == {holds: reason}
    assert str(error) in status["message"]
    assert server.told().count(reason) == webhook.reasons.count(reason) == 1
    server.refused = {}
    await Reconciler(server).reconcile(("shop", "inventory"))
    assert "rolls out" in server.objects[APP]["status"]["message"]


async def test_a_name_that_is_taken_is_told_once() -> None:
    server, webhook = a_server(), Told()
    server.objects[SERVICE] = {"metadata": {"name": "inventory", "uid": "theirs", "resourceVersion": "1"}, "spec": {}}
    for _ in range(10):
        await Reconciler(server, webhook=cast(Webhook, webhook)).reconcile(("shop", "inventory"))
    assert server.told() == webhook.reasons == ["InvalidSpec"]


async def test_an_error_of_the_operator_itself_is_said_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def divided(*_: Any) -> Any:
        return 1 / 0

    monkeypatch.setattr("inventory_operator.reconcile.plan", divided)
    server = a_server()
    status = await tried(server, 10)
    assert true(status) == {"Reconciling": "OperatorError"}
    assert "ZeroDivisionError: division by zero. Its log has more." in status["message"]
    assert server.told() == ["OperatorError"]


async def test_what_was_done_before_something_failed_is_told_to_everybody() -> None:
    """Old content comes back, and what was on its way can't be given up yet."""
    server, webhook = a_server(migrations={"secret": "owner"}), Told()
    for image in ("api:1", "api:2", "api:2"):
        server.objects[APP]["spec"]["image"] = image
        await Reconciler(server).reconcile(("shop", "inventory"))
    *_, second = [path for path in server.objects if path.startswith(DEPLOYMENTS)]
    server.objects[APP]["spec"]["image"] = "api:1"
    server.refused_writes, server.written = {second: ApiError(500, "no")}, []
    await tried(server, 2, webhook)
    assert server.told() == webhook.reasons == ["ReleaseBegun", "ApiError"]


@pytest.mark.parametrize(("apps", "seconds"), [(0, 300), (3000, 300), (10_000, 1000)])
def test_all_apps_at_rest_together_are_looked_at_ten_times_a_second_at_most(apps: int, seconds: float) -> None:
    assert resync_seconds(apps) == seconds


INGRESSES = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses"
INGRESS = f"{INGRESSES}/shop"


async def test_what_is_derived_from_somebody_elses_is_compared_with_it_every_few_seconds() -> None:
    server = a_server(strategy={"canary": {"ingress": {"name": "shop"}}}, paused=True)
    service = {"service": {"name": "inventory", "port": {"name": "http"}}}
    server.objects[INGRESS] = {"metadata": {"name": "shop"}, "spec": {"defaultBackend": service}}
    assert await Reconciler(server).reconcile(("shop", "inventory")) == 300
    found = await observe(server, "shop", "inventory")
    assert found
    canary = canary_ingress(found.app, server.objects[INGRESS], 0)
    server.objects[f"{INGRESSES}/inventory-canary"] = canary
    assert await Reconciler(server).reconcile(("shop", "inventory")) == 5


async def test_a_job_is_decided_only_by_a_look_of_its_own() -> None:
    server = a_server(migrations={"secret": "owner"})
    reconciler = Reconciler(server)
    assert await reconciler.reconcile(("shop", "inventory")) == 0
    assert not [write for write in server.written if "/jobs" in write.path]
    await reconciler.reconcile(("shop", "inventory"))
    assert [write.method for write in server.written if "/jobs" in write.path] == ["POST"]


async def test_a_release_without_migrations_takes_one_write_to_its_first_pods_and_three_when_they_are_ready() -> None:
    server = a_server(replicas=1)
    reconciler = Reconciler(server)
    for _ in range(2):
        await reconciler.reconcile(("shop", "inventory"))
        server.settle()
    server.changes()
    server.objects[APP]["spec"]["image"] = "api:2"
    passes = []
    for _ in range(3):
        assert await reconciler.reconcile(("shop", "inventory"))
        passes.append(server.changes())
        server.settle()
    assert passes == [
        ["POST deployments", "PATCH services", "PATCH status"],
        ["PATCH deployments", "PATCH services", "PATCH deployments", "PATCH status"],
        ["PATCH status"],
    ]
    assert server.objects[APP]["status"]["phase"] == "Healthy"


async def test_a_release_with_migrations_tells_its_status_when_its_job_is_there() -> None:
    server = a_server(migrations={"secret": "owner"})
    reconciler = Reconciler(server)
    assert await reconciler.reconcile(("shop", "inventory")) == 0
    await reconciler.reconcile(("shop", "inventory"))
    assert server.changes() == ["POST deployments", "POST jobs", "PATCH status"]
