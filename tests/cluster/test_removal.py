"""Taking it all away ends clean, whether or not the operator is still there."""

import pytest

from tests.cluster.installation import NAME, Installation

OPERATOR_IS_THERE = pytest.mark.parametrize("operator", [1, 0], ids=["with the operator", "without the operator"])
LEFT_OVER = "inventoryapps,deployments,replicasets,statefulsets,jobs,services,ingresses,poddisruptionbudgets,pods"


@OPERATOR_IS_THERE
def test_helm_uninstall_leaves_nothing_running(serving_app: Installation, operator: int) -> None:
    serving_app.scale_operator(operator)
    ended = serving_app.run_helm("uninstall", NAME, "--namespace", serving_app.namespace, "--wait", "--timeout", "2m")
    assert ended.code == 0, ended.said
    serving_app.wait_for("nothing is left", lambda: not serving_app.kubectl("get", LEFT_OVER, "--output=name").strip())
    serving_app.remove()


@OPERATOR_IS_THERE
def test_a_deleted_namespace_is_not_stuck(serving_app: Installation, operator: int) -> None:
    serving_app.scale_operator(operator)
    serving_app.remove()
    path = f"/api/v1/namespaces/{serving_app.namespace}"
    serving_app.wait_for("the namespace is gone", lambda: serving_app.cluster.kube.get(path) is None)
