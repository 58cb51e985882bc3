"""The rights that the chart grants are those that the tests on a cluster have used, and no others."""

import pytest

from tests.cluster.rights import NEVER_SEEN, USED, WAYS_TO_INSTALL, held

from .render import render


def test_the_chart_grants_the_rights_that_tests_on_a_cluster_have_used_and_no_others() -> None:
    granted, used = held(), set(USED.read_text().splitlines())

    assert granted >= NEVER_SEEN
    assert set(map(str, granted - NEVER_SEEN)) == used, f"make cluster-test-all finds out, and writes {USED.name}"


@pytest.mark.parametrize("options", WAYS_TO_INSTALL, ids=lambda options: options[1].rpartition("/")[2])
def test_nothing_is_bound_to_a_role_that_is_not_the_charts_own(options: tuple[str, str]) -> None:
    """What another role grants would not be seen there."""
    objects = render(*options)
    roles = {(each["kind"], each["metadata"]["name"]) for each in objects if each["kind"] in ("Role", "ClusterRole")}

    for binding in objects:
        if binding["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles
