"""Rates by caller: exact over all pods with Redis, by each pod without it, and never waiting for one that is away."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from inventory_api.settings import ServiceSettings
from inventory_api.traffic.rates import Rates
from inventory_api.traffic.windows import Policy

from tests.integration.api.relay import redis_relay
from tests.integration.api.services import EMAIL, PASSWORD, Api, client_of, created, ready, running, settings_for
from tests.integration.conditions import PATIENCE_SECONDS, soon
from tests.integration.stores import SERVICE, Postgres, Valkey

PROXY, CLIENT = "10.0.0.1", "203.0.113.5"


@asynccontextmanager
async def counting(*urls: str | None, patience_seconds: float = PATIENCE_SECONDS) -> AsyncIterator[list[Rates]]:
    """Pods, as far as they count; a machine that is busy with other tests does not make them take Redis for away."""
    pods = [Rates(url, patience_seconds) for url in urls]
    try:
        yield pods
    finally:
        for pod in pods:
            await pod.close()


def policy(amount: int, seconds: int = 600) -> Policy:
    """One that no other test counts for."""
    return Policy(uuid.uuid4().hex, amount, seconds)


async def admitted(rates: Rates, given: Policy, times: int, caller: str = "a") -> int:
    counts = await asyncio.gather(*(rates.take(given, caller) for _ in range(times)))
    return sum(count.admitted for count in counts)


@pytest.mark.parametrize("amount", [1, 20, 250])
async def test_all_pods_together_admit_exactly_what_is_allowed(own_valkey: Valkey, amount: int) -> None:
    given = policy(amount)
    async with counting(*[own_valkey.url] * 3) as pods:
        found = await asyncio.gather(*(admitted(pod, given, amount) for pod in pods))

    assert sum(found) == amount


async def test_one_after_another_is_told_how_much_is_left_and_when_there_is_more(redis_url: str) -> None:
    given = policy(5)
    async with counting(redis_url) as (pod,):
        counts = [await pod.take(given, "a") for _ in range(6)]
        other = await pod.take(given, "b")

    assert [count.remaining for count in counts] == [4, 3, 2, 1, 0, 0]
    assert [count.admitted for count in counts] == [True] * 5 + [False]
    assert all(590 < count.reset <= 600 for count in counts)
    assert other.admitted


async def test_a_caller_in_a_hurry_costs_redis_few_round_trips(own_valkey: Valkey) -> None:
    given = policy(10_000)
    async with counting(own_valkey.url) as (pod,):
        found = await admitted(pod, given, 2000)

    assert found == 2000
    assert own_valkey.commands("evalsha") < 100


async def test_what_was_used_leaves_the_time_that_counts_and_is_there_again(redis_url: str) -> None:
    given = policy(3, seconds=1)
    async with counting(redis_url) as (pod,):
        assert await admitted(pod, given, 10) == 3

        async def admits_again() -> bool:
            return (await pod.take(given, "a")).admitted

        await soon(admits_again)


async def test_who_is_forgotten_begins_anew(redis_url: str) -> None:
    given = policy(3)
    async with counting(redis_url) as (pod,):
        await admitted(pod, given, 10)
        await pod.forget(given, "a")

        assert await admitted(pod, given, 10) == 3


async def test_without_redis_each_pod_counts_alone() -> None:
    given = policy(20)
    async with counting(None, None) as pods:
        assert [await admitted(pod, given, 60) for pod in pods] == [20, 20]


async def test_while_redis_is_away_each_pod_counts_alone_and_with_it_back_all_count_together(
    own_valkey: Valkey,
) -> None:
    given = policy(20)
    async with counting(own_valkey.url, own_valkey.url) as pods:
        for pod in pods:
            assert await admitted(pod, given, 1, "before") == 1
        own_valkey.stop()
        away = [await admitted(pod, given, 60, "while") for pod in pods]
        own_valkey.start()

        async def count_together() -> bool:
            caller = uuid.uuid4().hex
            return sum([await admitted(pod, given, 20, caller) for pod in pods]) == 20

        await soon(count_together)

    assert away == [20, 20]


async def test_nobody_waits_for_a_redis_that_does_not_answer(redis_url: str) -> None:
    given = policy(1000)
    async with (
        redis_relay(redis_url) as between,
        counting(f"redis://127.0.0.1:{between.port}", patience_seconds=0.25) as (pod,),
    ):
        await pod.take(given, "a")
        between.answers.clear()
        started = time.monotonic()
        found = await admitted(pod, given, 500)
        first = time.monotonic() - started
        waits = [await waited(pod, given) for _ in range(50)]
        between.answers.set()

    assert found == 500
    # Those that were on their way have waited; 250 ms are what a Redis gets.
    assert first < 3
    assert sorted(waits)[25] < 0.01


async def waited(rates: Rates, given: Policy) -> float:
    started = time.monotonic()
    await rates.take(given, "a")
    return time.monotonic() - started


@asynccontextmanager
async def user_of(app: FastAPI, address: str = CLIENT, **headers: str) -> AsyncIterator[Api]:
    transport = httpx.ASGITransport(app, client=(address, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://inventory", timeout=PATIENCE_SECONDS) as http:
        http.headers.update(headers)
        yield Api(http)


@pytest.fixture
def settings(postgres: Postgres, database: str) -> ServiceSettings:
    """Without Redis: what a pod does is the same, and no test counts for another."""
    return settings_for(
        postgres.url(database, SERVICE),
        rate_limit_reads="5/hour",
        rate_limit_writes="3/hour",
        rate_limit_reports="2/hour",
        trusted_proxies="10.0.0.0/8",
    )


@pytest.fixture
async def limited(settings: ServiceSettings) -> AsyncIterator[FastAPI]:
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        yield app


async def statuses(api: Api, times: int, path: str = "/api/v1/items") -> list[int]:
    return [(await api.get(path)).status_code for _ in range(times)]


async def test_every_answer_tells_what_is_allowed_and_what_is_left(limited: FastAPI) -> None:
    async with user_of(limited) as api:
        answers = [await api.get("/api/v1/items") for _ in range(6)]
        unlimited = await api.get("/metrics")

    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"reads";q=5;w=3600'}
    assert [answer.headers["RateLimit"] for answer in answers[:2]] == ['"reads";r=4;t=3600', '"reads";r=3;t=3600']
    refused = answers[-1]
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:inventory:problem:too-many-requests")
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["Retry-After"]) == int(refused.headers["RateLimit"].split("t=")[1])
    assert refused.headers["RateLimit"].startswith('"reads";r=0;')
    assert 'inventory_rate_limited_total{route_class="reads"} 1.0' in unlimited.text


async def test_kinds_of_requests_count_apart(limited: FastAPI) -> None:
    async with user_of(limited) as api:
        await statuses(api, 9)
        reports = await statuses(api, 3, "/api/v1/reports/overdue")
        writes = [(await api.post("/api/v1/items", {})).status_code for _ in range(4)]
        probes = await statuses(api, 20, "/livez")

    assert (reports, writes) == ([401, 401, 429], [401, 401, 401, 429])
    assert probes == [200] * 20


async def test_a_user_counts_as_one_wherever_the_requests_come_from(limited: FastAPI) -> None:
    async with user_of(limited, "192.0.2.1") as api, user_of(limited, "192.0.2.2") as elsewhere:
        await api.sign_in()
        elsewhere.http.headers.update(api.http.headers)
        # The first one with a token is the address's: nobody knows yet whose it is.
        assert (await api.get("/api/v1/items")).status_code == 200
        assert Counter(await statuses(api, 3) + await statuses(elsewhere, 3)) == {200: 5, 429: 1}


async def test_users_behind_one_address_do_not_count_for_one_another(limited: FastAPI) -> None:
    async with user_of(limited) as admin, user_of(limited) as member:
        await admin.sign_in()
        body = {"email": "member@example.com", "name": "Mem Ber", "password": "another password"}
        created(await admin.post("/api/v1/users", body))
        await member.sign_in(body["email"], body["password"])
        # The first with a token is the address's: nobody knows yet whose it is.
        await member.get("/api/v1/items")

        assert await statuses(admin, 6) == [200] * 5 + [429]
        assert await statuses(member, 6) == [200] * 5 + [429]


async def test_made_up_tokens_count_for_the_address_that_they_come_from(limited: FastAPI) -> None:
    async with user_of(limited) as api:
        found = []
        for number in range(7):
            api.http.headers["Authorization"] = f"Bearer made-up-{number}"
            found.append((await api.get("/api/v1/items")).status_code)

    assert found == [401] * 5 + [429] * 2


async def test_a_token_that_is_no_longer_valid_is_nobodys(limited: FastAPI, postgres: Postgres, database: str) -> None:
    async with user_of(limited, "192.0.2.1") as former, user_of(limited, "192.0.2.2") as current:
        await former.sign_in()
        await former.get("/api/v1/items")
        postgres.execute("UPDATE users SET active = false", database=database)
        found = await statuses(former, 7)
        postgres.execute("UPDATE users SET active = true", database=database)
        await current.sign_in()
        await current.get("/api/v1/items")
        # Of the user's five, the former token has used up the one by which it was found out.
        assert await statuses(current, 5) == [200] * 4 + [429]

    assert found == [401] * 5 + [429] * 2


async def test_sign_in_counts_by_address_whatever_token_comes_with_it(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE), rate_limit_sign_in="4/hour")
    async with (
        running(settings) as app,
        client_of(app) as api,
        user_of(app) as user,
        user_of(app, "192.0.2.9") as other,
    ):
        await ready(api)
        await user.sign_in()
        await user.get("/api/v1/users/me")
        found = []
        for number in range(5):
            guess = {"email": f"{number}@example.com", "password": "wrong"}
            found.append((await user.post("/api/v1/auth/token", guess)).status_code)
        elsewhere = await other.post("/api/v1/auth/token", {"email": EMAIL, "password": PASSWORD})

    assert (found, elsewhere.status_code) == ([401] * 3 + [429] * 2, 200)


async def test_an_address_that_the_caller_made_up_changes_nothing(limited: FastAPI) -> None:
    async with user_of(limited) as direct, user_of(limited, PROXY) as proxied:
        found = [(await direct.get("/", headers={"X-Forwarded-For": f"192.0.2.{n}"})).status_code for n in range(6)]
        behind = [
            (await proxied.get("/", headers={"X-Forwarded-For": f"192.0.2.{n}, 198.51.100.7"})).status_code
            for n in range(6)
        ]

    assert found == behind == [200] * 5 + [429]


async def test_callers_behind_a_trusted_proxy_count_each_for_themselves(limited: FastAPI) -> None:
    async with user_of(limited, PROXY) as proxied:
        found = [(await proxied.get("/", headers={"X-Forwarded-For": f"192.0.2.{n}"})).status_code for n in range(20)]

    assert found == [200] * 20


async def test_rates_can_be_switched_off(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE), rate_limit_reads="1/hour", rate_limits=False)
    async with running(settings) as app, client_of(app) as api:
        answers = [await api.get("/") for _ in range(5)]

    assert {(answer.status_code, "RateLimit" in answer.headers) for answer in answers} == {(200, False)}


async def test_with_redis_gone_and_back_requests_are_answered_as_ever(
    postgres: Postgres, database: str, own_valkey: Valkey
) -> None:
    settings = settings_for(postgres.url(database, SERVICE), redis_url=own_valkey.url, rate_limit_reads="20/hour")
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        own_valkey.stop()
        started = time.monotonic()
        await api.sign_in()
        away = await statuses(api, 10)
        still_ready = await api.get("/readyz")
        seconds = time.monotonic() - started
        own_valkey.start()

        async def counts_in_redis() -> bool:
            await api.get("/")
            return own_valkey.commands("evalsha") > 0

        await soon(counts_in_redis)

    assert (away, still_ready.status_code) == ([200] * 10, 200)
    assert seconds < 5


async def test_a_slow_redis_makes_nobody_slow(postgres: Postgres, database: str, redis_url: str) -> None:
    async with redis_relay(redis_url) as between:
        settings = settings_for(postgres.url(database, SERVICE), redis_url=f"redis://127.0.0.1:{between.port}")
        async with running(settings) as app, client_of(app) as api:
            await ready(api)
            await api.sign_in()
            between.late_by_seconds = 5
            started = time.monotonic()
            found = Counter(await statuses(api, 100))
            seconds = time.monotonic() - started

    assert found == {200: 100}
    assert seconds < 5
