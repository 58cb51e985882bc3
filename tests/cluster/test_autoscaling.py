"""An autoscaler takes over the count of pods from Helm."""

import pytest

from tests.cluster.installation import NAME, Installation, succeed
from tests.cluster.installations import Installations


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_turning_an_autoscaler_on_takes_no_pod_away(installations: Installations, helm: str) -> None:
    app = installations.serving(helm=helm)
    before = app.status
    pods = app.pods_of(before["stableRelease"])
    assert len(pods) == 2
    with app.traffic() as traffic, traffic.during("turning an autoscaler on"):
        values = {"enabled": True, "minReplicas": 1, "maxReplicas": 2}
        succeed(app, app.upgrade(app={"replicas": None}, autoscaling=values))
        path = f"/apis/autoscaling/v2/namespaces/{app.namespace}/horizontalpodautoscalers/{NAME}"
        app.wait_for("the autoscaler can scale", lambda: able_to_scale(app, path))
    assert app.app["spec"]["replicas"] == 2
    assert app.pods_of(before["stableRelease"]) == pods
    assert app.status["stableRevision"] == before["stableRevision"]
    app.release(app={"replicas": 1}, autoscaling={"enabled": False})
    app.release(app={"replicas": 2})


def able_to_scale(app: Installation, path: str) -> bool:
    autoscaler = app.cluster.kube.get(path) or {}
    conditions = autoscaler.get("status", {}).get("conditions", [])
    return any(each["type"] == "AbleToScale" and each["status"] == "True" for each in conditions)
