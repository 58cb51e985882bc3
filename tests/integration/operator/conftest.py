from collections.abc import Iterator

import pytest

from tests.integration.operator.prometheus import Prometheus, running_prometheus
from tests.integration.stores import Postgres


@pytest.fixture(scope="session")
def prometheus() -> Iterator[Prometheus]:
    """One that scrapes nothing."""
    with running_prometheus() as server:
        yield server


@pytest.fixture
def other_database(postgres: Postgres) -> Iterator[str]:
    """For a release that shall not suffer what the other one does."""
    name = postgres.migrated_database()
    yield name
    postgres.drop(name)
