"""A pass, from what the API server has to what is written to it."""

from collections.abc import Mapping
from typing import Any

from inventory_operator.observe import app_path
from inventory_operator.reconcile import Reconciler

from .api_server import ApiServer, Object

APP = app_path("shop", "inventory")
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"


class Answering(ApiServer):
    """What is made or changed comes back as the API server has it then."""

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Object:
        found = await super().request(method, path, body, kind, accept, **query)
        if path.startswith(DEPLOYMENTS) and method != "GET":
            where = path if method == "PATCH" else f"{DEPLOYMENTS}/{found['metadata']['name']}"
            self.objects[where] = merged(self.objects.get(where, {}), body or {})
            self.objects[where]["metadata"] |= {"resourceVersion": str(len(self.written)), "generation": 1}
            return self.objects[where]
        return found


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


async def test_a_job_is_decided_only_by_a_look_of_its_own() -> None:
    server = a_server(migrations={"secret": "owner"})
    reconciler = Reconciler(server)
    assert await reconciler.reconcile(("shop", "inventory")) == 0
    assert not [write for write in server.written if "/jobs" in write.path]
    await reconciler.reconcile(("shop", "inventory"))
    assert [write.method for write in server.written if "/jobs" in write.path] == ["POST"]
