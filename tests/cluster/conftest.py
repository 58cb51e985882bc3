import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.again import API, TestsOfTheApi
from tests.cluster.cluster import EXPANDS, OVERLAYS, Cluster, local
from tests.cluster.installation import Installation
from tests.cluster.installations import Installations
from tests.cluster.local import state

HERE = Path(__file__).parent
LAST = HERE / "test_rights.py"
FEW = 3
"""Slow tests that run where not all shall."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--few-slow", action="store_true", help="of the slow tests, a few by chance")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What looks back on all the others comes after them."""
    items.sort(key=lambda item: item.path == LAST)
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow and config.option.few_slow:
        for picked in _chance().sample(slow, min(FEW, len(slow))):
            slow.remove(picked)
        items[:] = [item for item in items if item not in slow]
        config.hook.pytest_deselected(items=slow)


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    return TestsOfTheApi.from_parent(parent, path=path) if path == API else None


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that is up; else one that is there for the tests alone."""
    brought_up = state.load(state.layout()) is None
    if brought_up:
        local("up")
    cluster = Cluster.current()
    for release in OVERLAYS:
        cluster.image(release)  # no test shall wait for one
    yield cluster
    cluster.close()
    if brought_up:
        local("down")


@pytest.fixture
def part_of_the_tests(request: pytest.FixtureRequest) -> str:
    """Why not all tests of the cluster have run, and well; empty if they have."""
    session, options = request.session, request.config.option
    if session.testsfailed:
        return "some have failed"
    if options.keyword or options.markexpr or options.lf or options.deselect or "::" in "".join(request.config.args):
        return "some were picked"
    if options.few_slow:
        return "most of the slow ones were left out"
    left_out = set(HERE.glob("test_*.py")) - {item.path for item in session.items}
    return f"without {', '.join(sorted(path.name for path in left_out))}" if left_out else ""


@pytest.fixture(scope="session")
def installations(cluster: Cluster) -> Iterator[Installations]:
    found = Installations(cluster)
    yield found
    found.remove()


@pytest.fixture
def serving_app(installations: Installations) -> Installation:
    """An app that serves, whichever release."""
    return installations.serving()


@pytest.fixture
def app_at_base(installations: Installations) -> Installation:
    """An app that serves this checkout's release, on a database that has seen no other."""
    return installations.serving(lambda app: app.expanded() == EXPANDS)


@pytest.fixture
def app_at_v2(installations: Installations) -> Installation:
    """An app that serves v2, on a database that has seen nothing newer."""
    found = installations.serving(lambda app: app.expanded() in (EXPANDS, (*EXPANDS, "9001")))
    if found.app["spec"]["image"] != found.cluster.image("v2"):
        found.release("v2")
        found.wait_until_at_rest()
    return found


@pytest.fixture
def app_with_a_past(installations: Installations) -> Installation:
    """An app that serves, with a release that served before and can serve again."""
    found = installations.serving(lambda app: bool(app.former_releases()))
    if not found.former_releases():
        found.release("v2")
        found.wait_until_at_rest()
    return found


@pytest.fixture
def chance() -> random.Random:
    """Random moments that can be had again: INVENTORY_TEST_SEED=… pytest …"""
    return _chance()


def _chance() -> random.Random:
    seed = os.environ.get("INVENTORY_TEST_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"INVENTORY_TEST_SEED={seed}")
    return random.Random(seed)
