import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.integration.stores import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    name = postgres.empty_database()
    yield name
    postgres.drop(name)


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """A database with the schema of this checkout."""
    name = postgres.migrated_database()
    yield name
    postgres.drop(name)


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
