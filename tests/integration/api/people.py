"""People who use the service wherever it runs: `visitor`, a fixture of each place, has one come to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.integration.api.services import Api, created

Visitor = Callable[[], AbstractAsyncContextManager[Api]]


@pytest.fixture
async def anybody(visitor: Visitor) -> AsyncIterator[Api]:
    """Not signed in."""
    async with visitor() as api:
        yield api


@pytest.fixture
async def admin(visitor: Visitor) -> AsyncIterator[Api]:
    async with visitor() as api:
        await api.sign_in()
        yield api


@pytest.fixture
async def member(visitor: Visitor, admin: Api) -> AsyncIterator[Api]:
    body = {"email": "member@example.com", "name": "Mem Ber", "password": "another password"}
    created(await admin.post("/api/v1/users", body))
    async with visitor() as api:
        await api.sign_in(body["email"], body["password"])
        yield api


@pytest.fixture
async def shelf(admin: Api) -> int:
    """A location beside the first one."""
    return await admin.location("Shelf")
