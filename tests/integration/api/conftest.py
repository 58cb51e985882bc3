from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from inventory_api.database import Database
from inventory_api.resources import Resources

from tests.integration.api.overlays import Overlay
from tests.integration.api.people import Visitor, admin, anybody, member, shelf
from tests.integration.api.services import Api, StartService, client_of, ready, running, settings_for, statements_of
from tests.integration.stores import SERVICE, Postgres, Valkey, running_postgres, running_valkey

__all__ = ["admin", "anybody", "member", "shelf"]


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "newer")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with running_valkey() as server:
        yield server.url


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that a test may stop."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A server that a test may stop."""
    with running_valkey() as server:
        yield server


@pytest.fixture
async def app(
    request: pytest.FixtureRequest, postgres: Postgres, database: str, redis_url: str
) -> AsyncIterator[FastAPI]:
    """A service with the settings that the tests of a file are marked with, if they are."""
    mark = request.node.get_closest_marker("settings")
    given = mark.kwargs if mark else {}
    async with running(settings_for(postgres.url(database, SERVICE), redis_url=redis_url, **given)) as app:
        yield app


@pytest.fixture
async def with_settings(postgres: Postgres, database: str) -> AsyncIterator[StartService]:
    """For one more service on the same database, while the test lasts."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> tuple[Api, FastAPI]:
            given = settings_for(postgres.url(database, SERVICE), **settings)
            app = await stack.enter_async_context(running(given))
            api = await stack.enter_async_context(client_of(app))
            await ready(api)
            await api.sign_in()
            return api, app

        yield start


@pytest.fixture
def pod(app: FastAPI) -> Database:
    """The database as a pod of the service has it."""
    resources: Resources = app.state.resources
    return resources.database


@pytest.fixture
async def visitor(app: FastAPI) -> Visitor:
    async with client_of(app) as api:
        await ready(api)
    return lambda: client_of(app)


@pytest.fixture(scope="session")
async def quiet_admin(postgres: Postgres) -> AsyncIterator[Api]:
    """One service for all tests of what leaves nothing behind."""
    async with running(settings_for(postgres.url(postgres.migrated_database(), SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        yield api


@pytest.fixture
def statements(app: FastAPI) -> Iterator[list[str]]:
    with statements_of(app) as seen:
        yield seen
