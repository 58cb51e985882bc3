"""The operator may do what it does, and nothing else. It looks back on all other tests, and so comes last."""

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.local import state
from tests.cluster.rights import Right, granted, used
from tests.unit.chart.render import SCENARIOS, render

OPTIONS = (
    *(("--values", str(path)) for path in SCENARIOS),
    *(
        ("--set", setting)
        for setting in ("operator.watch.scope=cluster", "operator.replicas=2", "ingress.enabled=true")
    ),
)
NAMESPACES = ("test-", "inventory-operator")
NEVER_SEEN = {
    # Where the cluster has no CRD. Taking it away from this one would take all apps with it.
    Right("prepare", "apiextensions.k8s.io", "customresourcedefinitions", "create"),
}


def test_the_operator_holds_no_verb_that_no_test_uses(cluster: Cluster, part_of_the_tests: str) -> None:
    log = state.layout().audit
    if part_of_the_tests:
        pytest.skip(f"only all tests use all rights: {part_of_the_tests}")
    if not log.exists():
        pytest.skip("the API server writes no audit log; that of a node of our own does, from the next make up on")
    rights = {right for options in OPTIONS for right in granted(render(*options))}

    unused = rights - used(log, NAMESPACES, cluster.since) - NEVER_SEEN

    assert not unused, "\n".join(["no test uses:", *map(str, sorted(unused))])
