"""The API's tests once more, on people who come through the ingress."""

from collections.abc import Iterator

import pytest

from tests.cluster.cluster import CHECKOUT

API = CHECKOUT / "tests" / "cluster" / "api"
TESTS = CHECKOUT / "tests" / "integration" / "api"
IN_PROCESS = {"caplog", "monkeypatch"}
"""Fixtures that reach a service in this process alone."""


class TestsOfTheApi(pytest.Package):
    """Where the fixtures are that take the place of those beside the tests."""

    def collect(self) -> Iterator[pytest.Module]:
        for path in sorted(TESTS.glob("test_*.py")):
            # An id of its own: in a run of all tests, each is there twice.
            yield OnTheCluster.from_parent(self, path=path, nodeid=f"{self.nodeid}/{path.name}")


class OnTheCluster(pytest.Module):
    """Those tests of a module that ask for nothing but what there is here."""

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        left_out = []
        for item in super().collect():
            if isinstance(item, pytest.Function) and _can_run(item):
                yield item
            else:
                left_out.append(item)
        self.ihook.pytest_deselected(items=left_out)


def _can_run(test: pytest.Function) -> bool:
    """Whether it is about the installed service, and every fixture that it asks for is one that there is here."""
    asked = set(test.fixturenames) - {"request"}
    given = test.callspec.params.keys() if hasattr(test, "callspec") else ()
    return "installed" in asked and not asked & IN_PROCESS and asked <= {*test._fixtureinfo.name2fixturedefs, *given}
