"""Taking it all away ends clean, whether or not the operator is still there."""

import pytest

from tests.cluster.installation import NAME, Installation
from tests.cluster.installations import Installations

LEFT_OVER = "inventoryapps,deployments,replicasets,statefulsets,jobs,services,ingresses,poddisruptionbudgets,pods"


@pytest.mark.parametrize("operators", [1, 0], ids=["with the operator", "without the operator"])
def test_helm_uninstall_leaves_nothing_running(serving_app: Installation, operators: int) -> None:
    serving_app.scale_operator(operators)
    ended = serving_app.run_helm("uninstall", NAME, "--namespace", serving_app.namespace, "--wait", "--timeout", "2m")
    assert ended.code == 0, ended.said
    serving_app.wait_for("nothing is left", lambda: not serving_app.kubectl("get", LEFT_OVER, "--output=name").strip())
    serving_app.remove()


def test_a_deleted_namespace_is_not_stuck_with_the_operator_or_without(installations: Installations) -> None:
    """Both at once: it is the cluster that takes half a minute for it."""
    first = installations.serving()
    second = installations.serving(lambda app: app is not first)
    second.scale_operator(0)
    for app in (first, second):
        app.remove()
    for app in (first, second):
        app.wait_until_gone()
