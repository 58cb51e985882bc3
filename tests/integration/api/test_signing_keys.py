"""The signing key changes, and nobody is signed out."""

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr

from tests.integration.api.services import Api, client_of, ready, running, settings_for
from tests.integration.api.test_sessions import calls, refreshed, sign_in
from tests.integration.stores import SERVICE, Postgres

OLD, NEW = SecretStr("o" * 32), SecretStr("n" * 32)
STEPS = [(OLD, None), (OLD, NEW), (NEW, OLD), (NEW, None)]


@pytest.fixture
async def pods(postgres: Postgres, database: str) -> AsyncIterator[list[Api]]:
    """One of each step, on one database."""
    async with AsyncExitStack() as stack:
        clients = []
        for key, other in STEPS:
            settings = settings_for(postgres.url(database, SERVICE), secret_key=key, previous_secret_keys=other)
            client = await stack.enter_async_context(client_of(await stack.enter_async_context(running(settings))))
            await ready(client)
            clients.append(client)
        yield clients


async def test_in_each_step_those_who_are_signed_in_stay_so_on_old_and_new_pods(pods: list[Api]) -> None:
    tokens = await sign_in(pods[0])
    for before, after in itertools.pairwise(pods):
        assert [await calls(pod, tokens) for pod in (before, after)] == [200, 200]
        # By the last step, what the old key has signed is over: each client has refreshed since.
        tokens = await refreshed(after, tokens["refresh_token"])
        assert [await calls(pod, tokens) for pod in (before, after)] == [200, 200]


async def test_even_without_the_steps_a_refresh_token_goes_on(pods: list[Api]) -> None:
    tokens = await sign_in(pods[0])
    assert await calls(pods[3], tokens) == 401

    assert await calls(pods[3], await refreshed(pods[3], tokens["refresh_token"])) == 200
