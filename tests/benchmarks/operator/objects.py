"""The three things that release: an InventoryApp, a Rollout of Argo's, a bare Deployment. Each with one container."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

LABEL = "inventory.dev/benchmark"
"""On whatever the benchmark makes outside of its namespace, and on that: what has it is its own to take away."""
IMAGE = "benchmark.invalid/service:1"
"""Never pulled: the nodes are fake."""
ON_FAKE_NODES: Object = {
    "nodeSelector": {LABEL: "node"},
    "tolerations": [{"key": LABEL, "operator": "Exists", "effect": "NoSchedule"}],
}


@dataclass(frozen=True)
class Kind:
    """What can be made, changed, and then be waited for."""

    name: str
    path: str
    """Of the collection, the namespace left open."""
    make: Callable[[str, int], Object]
    """By name and replicas."""
    change: Callable[[str], Object]
    """A merge patch that makes its pods differ."""
    is_complete: Callable[[Object], bool]
    """The present generation serves, with as many pods as it shall have, and those of the one before have gone."""

    def collection(self, namespace: str) -> str:
        return self.path.format(namespace)

    @property
    def everywhere(self) -> str:
        """The collection over all namespaces."""
        return self.path.replace("namespaces/{}/", "")


def _deployment(api_version: str, kind: str, strategy: Object) -> Callable[[str, int], Object]:
    def make(name: str, replicas: int) -> Object:
        container = {"name": "service", "image": IMAGE}
        return {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "strategy": strategy,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [container], **ON_FAKE_NODES},
                },
            },
        }

    return make


def _app(name: str, replicas: int, **spec: Any) -> Object:
    return {
        "apiVersion": "inventory.dev/v1alpha1",
        "kind": "InventoryApp",
        "metadata": {"name": name},
        "spec": {"image": IMAGE, "replicas": replicas, "template": ON_FAKE_NODES, **spec},
    }


def _migrating_app(name: str, replicas: int) -> Object:
    return _app(name, replicas, migrations={"secret": "benchmark"})


def canary_app(name: str, replicas: int, prometheus: str) -> Object:
    """Half of the requests, and then one answer a second for as long as they are good."""
    return _app(
        name,
        replicas,
        strategy={"canary": {"ingress": {"name": name}, "steps": [{"weight": 50}, {"analysis": {}}]}},
        analysis={"prometheus": {"address": prometheus}, "metrics": [bad_after(2**40)]},
    )


def ingress(name: str) -> Object:
    """In front of an app of this name; of a class that nobody serves, since nobody calls."""
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"ingressClassName": "none", "rules": [{"host": "benchmark.invalid", "http": {"paths": paths}}]},
    }


def bad_after(moment: float) -> Object:
    """A metric that a real Prometheus finds bad from a time on, in seconds since 1970."""
    query = f"vector(time()) > bool {moment:.1f}"
    return {"name": "bad", "query": query, "success": {"max": 0}, "intervalSeconds": 1, "count": 1000}


def _template_changed(content: str) -> Object:
    return {"spec": {"template": {"metadata": {"annotations": {"benchmark": content}}}}}


def _config_changed(content: str) -> Object:
    return {"spec": {"config": {"BENCHMARK": content}}}


def _deployment_is_complete(found: Object) -> bool:
    status, wanted = found.get("status") or {}, found["spec"]["replicas"]
    # The API leaves a zero out.
    pods = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == found["metadata"]["generation"] and pods == [wanted] * 3


def _rollout_is_complete(found: Object) -> bool:
    status, wanted = found.get("status") or {}, found["spec"]["replicas"]
    pods = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = str(status.get("observedGeneration")) == str(found["metadata"]["generation"])
    return seen and status.get("phase") == "Healthy" and pods == [wanted] * 3


def _app_is_complete(found: Object) -> bool:
    status, wanted = found.get("status") or {}, found["spec"]["replicas"]
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    seen = status.get("observedGeneration") == found["metadata"]["generation"]
    pods = [status.get(each, 0) for each in ("replicas", "readyReplicas")]
    return seen and conditions.get("Ready") == "True" and conditions["Reconciling"] == "False" and pods == [wanted] * 2


_APPS = "/apis/inventory.dev/v1alpha1/namespaces/{}/inventoryapps"

DEPLOYMENT = Kind(
    "Deployment",
    "/apis/apps/v1/namespaces/{}/deployments",
    _deployment("apps/v1", "Deployment", {"type": "RollingUpdate"}),
    _template_changed,
    _deployment_is_complete,
)
ROLLOUT = Kind(
    "Rollout",
    "/apis/argoproj.io/v1alpha1/namespaces/{}/rollouts",
    _deployment("argoproj.io/v1alpha1", "Rollout", {"canary": {}}),
    _template_changed,
    _rollout_is_complete,
)
APP = Kind("InventoryApp", _APPS, _app, _config_changed, _app_is_complete)
MIGRATING_APP = Kind(
    "InventoryApp whose expand Job has nothing to do", _APPS, _migrating_app, _config_changed, _app_is_complete
)
