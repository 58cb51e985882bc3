"""A canary by the Gateway API: Traefik divides the requests as the HTTPRoute says that is somebody's own."""

import contextlib
import http
import http.client
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest
import yaml

from tests.cluster.cluster import CHECKOUT, Cluster
from tests.cluster.installation import NAME, Installation
from tests.cluster.installations import Installations
from tests.cluster.kube import Object
from tests.cluster.traffic import Traffic
from tests.integration.ports import free_port

pytestmark = pytest.mark.slow

SAMPLE = CHECKOUT / "manifests" / "samples" / "canary-httproute.yaml"
CRDS = ("gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants", "backendtlspolicies")
GROUP = "gateway.networking.k8s.io"
REQUESTS = 400
"""Answers that show a share to a few per cent."""
ENOUGH = 40
"""Answers that show who serves."""
UNCHANGED = ("phase", "message", "stableRevision", "stableRelease", "history", "conditions")
"""Of the status, by an order that has nothing to do."""
TO_THE_FRONT = {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/"}}
OTHERS = [
    {
        "matches": [{"path": {"type": "PathPrefix", "value": "/moved"}}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": TO_THE_FRONT}],
    },
    {
        "matches": [{"path": {"type": "PathPrefix", "value": "/elsewhere"}, "headers": [{"name": "x", "value": "y"}]}],
        "backendRefs": [{"name": name, "port": 80, "weight": weight} for name, weight in (("one", 3), ("another", 4))],
    },
]
"""Rules that are no business of the operator's."""


@dataclass(frozen=True)
class Gateway:
    """An app behind Traefik."""

    app: Installation
    port: int

    @property
    def route_path(self) -> str:
        return f"/apis/{GROUP}/v1/namespaces/{self.app.namespace}/httproutes/{NAME}"

    def route(self) -> Object:
        return self.app.cluster.kube.request("GET", self.route_path)

    def rules(self) -> list[Object]:
        found: list[Object] = self.route()["spec"]["rules"]
        return found

    def weights(self) -> dict[str, int]:
        """Of the backends of the first rule, which is ours."""
        return {each["name"]: each["weight"] for each in self.rules()[0]["backendRefs"]}

    def traffic(self) -> Traffic:
        return Traffic(f"http://127.0.0.1:{self.port}", self.app.host, *self.app.admin())

    def status_of(self, path: str) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", path, headers={"Host": self.app.host})
            return connection.getresponse().status

    def shares(self) -> Counter[str]:
        """How many of so many requests in a row each release has answered; "" is none of them."""
        seen: Counter[str] = Counter()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            for _ in range(REQUESTS):
                connection.request("GET", "/", headers={"Host": self.app.host})
                answer = connection.getresponse()
                answer.read()
                seen[answer.headers.get("X-Inventory-Release", "")] += 1
        return seen

    def divides(self, release: str, percent: float) -> bool:
        """Whether this release gets such a share of the requests, and no request is lost."""
        try:
            seen = self.shares()
        except ConnectionRefusedError:
            return False  # Traefik is about to begin
        return not seen[""] and abs(100 * seen[release] / REQUESTS - percent) <= max(1.0, percent / 10)

    def wait_until_divided(self, release: str, percent: float) -> None:
        self.app.wait_for(f"{release} answers {percent} % of the requests", lambda: self.divides(release, percent))


@pytest.fixture(scope="module")
def gateway(
    cluster: Cluster, installations: Installations, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    if cluster.record.kind != "own":
        pytest.skip("Traefik runs on this machine, from which the pods of such a cluster can't be reached")
    program = cluster.tool("traefik")
    with cluster.foreign_crds(cluster.tool("gateway-crds"), *(f"{name}.{GROUP}" for name in CRDS)):
        config = {"INVENTORY_RATE_LIMIT_READS": "1000000/minute"}  # a share takes many requests
        app = installations.new(app={"config": config, "strategy": {"canary": {"httpRoute": {"name": NAME}}}})
        app.install()
        found = Gateway(app, free_port())
        cluster.kubectl("apply", "--server-side", "--filename", "-", stdin=yaml.safe_dump_all(gateway_objects(found)))
        words = (
            f"--entrypoints.web.address=127.0.0.1:{found.port}",
            f"--providers.kubernetesgateway.namespaces={app.namespace}",
            "--global.checknewversion=false",
            f"--log.filepath={tmp_path_factory.mktemp('traefik') / 'log'}",
        )
        with cluster.start(program, *words) as traefik:
            yield found
            traefik.terminate()
            traefik.communicate(timeout=30)
        app.remove()
        cluster.kubectl("delete", "gatewayclass", app.namespace)


def test_the_sample_divides_the_requests_by_its_weights_and_touches_nothing_else(gateway: Gateway) -> None:
    app, before = gateway.app, gateway.app.status
    route, wanted = yaml.safe_load_all(SAMPLE.read_text())
    apply(app, "platform", route)
    given = gateway.route()
    gateway.wait_until_divided(before["stableRelease"], 100)
    with gateway.traffic() as traffic, traffic.during("the sample's canary by HTTPRoute"):
        apply(app, "platform", {**wanted, "spec": {**wanted["spec"], "image": app.cluster.image("v2")}})
        candidate = app.wait_for("a candidate gets requests", lambda: app.status.get("weight") and app.status)
        for step, weight in ((2, 5), (4, 50)):
            app.wait_for("the next weight", partial(at, app, weight, step))
            assert gateway.weights() == {NAME: 100 - weight, f"{NAME}-candidate": weight}
            gateway.wait_until_divided(candidate["candidateRelease"], weight)
            app.order("promote", f"{candidate['candidateRevision']}/{step}")
        after = app.wait_until_serving()
        gateway.wait_until_divided(after["stableRelease"], 100)
    assert after["stableRelease"] == candidate["candidateRelease"]
    expect_as_given(gateway, given)


def test_what_a_third_party_sets_is_left_so_and_said_and_an_abort_brings_all_requests_back(gateway: Gateway) -> None:
    app, before = gateway.app, gateway.app.status
    [route, _] = yaml.safe_load_all(SAMPLE.read_text())
    ours = {**route["spec"]["rules"][0], "name": "ours", "timeouts": {"request": "25s"}}
    apply(app, "platform", {**route, "spec": {**route["spec"], "rules": [ours, *OTHERS]}})
    given = gateway.route()
    gateway.wait_until_divided(before["stableRelease"], 100)
    spec = app.app["spec"]
    canary = {"httpRoute": {"name": NAME}, "steps": [{"weight": 30}, {"pause": {}}]}
    with gateway.traffic() as traffic, traffic.during("a canary by HTTPRoute that somebody meddles with"):
        app.apply({**spec, "config": {**spec["config"], "NOTE": "by HTTPRoute"}, "strategy": {"canary": canary}})
        status = app.wait_until_waiting("AwaitingPromotion")
        gateway.wait_until_divided(status["candidateRelease"], 30)
        assert without_weights(gateway.rules(), f"{NAME}-candidate") == without_weights(given["spec"]["rules"])
        assert gateway.status_of("/moved") == http.HTTPStatus.FOUND

        set_weights(gateway, 50, 50)
        said = f"somebody else has set the weight in HTTPRoute {NAME} to 50"
        app.wait_for("it is said", lambda: said in app.status["message"])
        gateway.wait_until_divided(status["candidateRelease"], 50)
        app.order("abort", "0")
        app.wait_for(
            "it has looked again", lambda: "abort" in [each["command"] for each in app.status.get("commands") or ()]
        )
        assert gateway.weights() == {NAME: 50, f"{NAME}-candidate": 50}

        set_weights(gateway, 70, 30)
        app.wait_until_waiting("AwaitingPromotion")
        app.order("abort", str(status["candidateRevision"]))
        app.wait_until_failed("Aborted")
        gateway.wait_until_divided(before["stableRelease"], 100)
    expect_as_given(gateway, given)


def test_an_abort_with_nothing_under_way_is_stale_and_changes_nothing(gateway: Gateway) -> None:
    app, stable = gateway.app, gateway.app.status["stableRelease"]
    [route, _] = yaml.safe_load_all(SAMPLE.read_text())
    apply(app, "platform", route)
    app.apply(app.specs[stable])
    before = app.wait_until_serving()
    app.wait_until_at_rest()
    gateway.wait_until_divided(stable, 100)
    given, made, pods = gateway.route(), generations(app), app.pods_of(stable)
    with gateway.traffic() as traffic, traffic.during("an abort with nothing under way"):
        for revision in ("0", str(before["stableRevision"])):
            app.order("abort", revision)
            said = {"command": "abort", "value": revision, "state": "Stale"}
            app.wait_for("it is said to be stale", partial(says, app, said))
        app.wait_for("answers since then", partial(enough_since, traffic, len(traffic.answers)))
    after = app.status
    assert {key: after[key] for key in UNCHANGED} == {key: before[key] for key in UNCHANGED}
    assert (gateway.route()["spec"], generations(app), app.pods_of(stable)) == (given["spec"], made, pods)
    assert {by for _, by in traffic.answers} == {stable}


def gateway_objects(gateway: Gateway) -> list[Object]:
    """A Gateway that Traefik serves on its port, by the name that the sample gives it."""
    namespace = gateway.app.namespace
    return [
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": namespace},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Gateway",
            "metadata": {"name": "gateway", "namespace": namespace},
            "spec": {
                "gatewayClassName": namespace,
                "listeners": [{"name": "web", "protocol": "HTTP", "port": gateway.port}],
            },
        },
    ]


def apply(app: Installation, manager: str, body: Object) -> None:
    """As somebody who has a manifest, and no more than that."""
    words = ("apply", "--server-side", "--force-conflicts", "--validate=strict", f"--field-manager={manager}")
    app.cluster.kubectl(*words, "--namespace", app.namespace, "--filename", "-", stdin=json.dumps(body))


def set_weights(gateway: Gateway, stable: int, candidate: int) -> None:
    """By hand, of all rules that are the app's."""
    rules = gateway.rules()
    for ref in rules[0]["backendRefs"]:
        ref["weight"] = candidate if ref["name"].endswith("-candidate") else stable
    gateway.app.cluster.kube.merge(gateway.route_path, {"spec": {"rules": rules}})


def at(app: Installation, weight: int, step: int) -> bool:
    """Whether the release is in this step, with this weight."""
    status = app.status
    return bool(status.get("weight") == weight and status.get("step") == step)


def generations(app: Installation) -> dict[str, int]:
    """Of each Deployment; it grows when something else is asked of it."""
    return {release: found["metadata"]["generation"] for release, found in app.deployments().items()}


def says(app: Installation, said: Object) -> bool:
    """Whether the status has an order with all of this."""
    return any(said.items() <= each.items() for each in app.status.get("commands", ()))


def enough_since(traffic: Traffic, seen: int) -> bool:
    return len(traffic.answers) >= seen + ENOUGH


def without_weights(rules: list[Object], left_out: str = "") -> list[Object]:
    """As far as they are not to be touched."""
    ours, *others = rules
    refs = [{k: v for k, v in ref.items() if k != "weight"} for ref in ours["backendRefs"] if ref["name"] != left_out]
    return [{**ours, "backendRefs": refs}, *others]


def expect_as_given(gateway: Gateway, given: Object) -> None:
    """The route is as its owner gave it, and nobody else's in any part."""
    gateway.app.wait_for("the route is as it was given", lambda: gateway.rules() == given["spec"]["rules"])
    found = gateway.route()
    assert found["spec"] == given["spec"]
    gateway.app.wait_for("no part of it is the operator's", lambda: "inventory-operator" not in managers(gateway))


def managers(gateway: Gateway) -> set[str]:
    return {each["manager"] for each in gateway.route()["metadata"].get("managedFields", ())}
