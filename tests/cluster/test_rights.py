"""The operator may do what it does, and nothing else. It looks back on all other tests, and so comes last."""

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.local import state
from tests.cluster.rights import NEVER_SEEN, USED, held, used, written

NAMESPACES = ("test-", "inventory-operator")


def test_the_operator_holds_no_verb_that_no_test_uses(cluster: Cluster, part_of_the_tests: str) -> None:
    """What was used is written down, where a test that needs no cluster compares it with the chart."""
    log = state.layout().audit
    if part_of_the_tests:
        pytest.skip(f"only all tests use all rights: {part_of_the_tests}")
    if not log.exists():
        pytest.skip("the API server writes no audit log; that of a node of our own does, from the next make up on")
    rights = held() - NEVER_SEEN
    unused = rights - used(log, NAMESPACES, cluster.since)
    known, found = USED.read_text(), written(rights - unused)

    USED.write_text(found)

    assert not unused, f"no test uses:\n{written(unused)}"
    assert found == known, f"{USED.name} was out of date, and is what was found now"
