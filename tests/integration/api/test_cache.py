"""What is kept in Redis, on a real one."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from inventory_api.cache import Cache, Entry, outdate, touch
from inventory_api.database import Database
from inventory_api.metrics import Metrics
from pydantic import TypeAdapter
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.integration.api.relay import redis_relay
from tests.integration.api.services import settings_for
from tests.integration.conditions import PATIENCE_SECONDS, soon
from tests.integration.stores import SERVICE, Postgres, Valkey

SHAPE: TypeAdapter[int | None] = TypeAdapter(int | None)
ENTRY = Entry("count", "things", SHAPE)


class Count:
    """Computes how often it has computed."""

    def __init__(self) -> None:
        self.times = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> int | None:
        self.times += 1
        found = self.times
        await self.may_end.wait()
        return found


@pytest.fixture
async def caches(own_valkey: Valkey) -> AsyncIterator[tuple[Cache, Cache]]:
    clients = [Redis.from_url(own_valkey.url, socket_timeout=2, socket_connect_timeout=2) for _ in range(2)]
    pods = [Cache(client, Metrics("1", "r1", "7"), "postgresql://one") for client in clients]
    yield pods[0], pods[1]
    for pod, client in zip(pods, clients, strict=True):
        await pod.close()
        await client.aclose()


async def test_fifty_who_miss_at_once_in_two_pods_have_it_computed_once(caches: tuple[Cache, Cache]) -> None:
    count = Count()

    found = await asyncio.gather(*(caches[n % 2].get(ENTRY, count) for n in range(50)))

    assert (set(found), count.times) == ({1}, 1)


class Overtaken(Redis):
    """Another pod computes and is done just before this one takes the lock."""

    others: Callable[[], Awaitable[object]] | None = None

    async def set(self, name: Any, value: Any, *arguments: Any, **options: Any) -> Any:
        if options.get("nx") and self.others:
            others, self.others = self.others, None
            await others()
        return await super().set(name, value, *arguments, **options)


async def test_who_gets_the_lock_after_another_has_computed_computes_no_more(
    caches: tuple[Cache, Cache], own_valkey: Valkey
) -> None:
    count = Count()
    await caches[0].get(Entry("other", "things", SHAPE), Count())  # so that there is a generation
    client = Overtaken.from_url(own_valkey.url)
    assert isinstance(client, Overtaken)
    async with client:
        client.others = lambda: caches[0].get(ENTRY, count)
        late = Cache(client, Metrics("1", "r1", "7"), "postgresql://one")
        found = await late.get(ENTRY, count)
        await late.close()

    assert (found, count.times) == (1, 1)


async def test_none_is_kept_too(caches: tuple[Cache, Cache]) -> None:
    async def nothing() -> None:
        return None

    assert await caches[0].get(ENTRY, nothing) is None
    assert await caches[1].get(ENTRY, Count()) is None


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_commit_lets_go_of_what_it_touched_and_a_rollback_of_nothing(
    caches: tuple[Cache, Cache], postgres: Postgres, database: str, is_kept: bool
) -> None:
    count, store = Count(), Database(settings_for(postgres.url(database, SERVICE)), caches[1].at_commit)
    assert await caches[0].get(ENTRY, count) == 1

    try:
        async with store.transaction() as session:
            touch(session, "things")
            if not is_kept:
                raise ValueError
    except ValueError:
        pass

    assert await caches[0].get(ENTRY, count) == (2 if is_kept else 1)
    await store.close()


async def test_what_was_computed_from_the_state_before_a_commit_is_not_kept_as_that_after_it(
    caches: tuple[Cache, Cache], postgres: Postgres, database: str
) -> None:
    count, store = Count(), Database(settings_for(postgres.url(database, SERVICE)), caches[1].at_commit)
    count.may_end.clear()
    old = asyncio.create_task(caches[0].get(ENTRY, count))
    await soon(partial(_has_begun, count))
    async with store.transaction() as session:
        touch(session, "things")
    count.may_end.set()

    assert await old == 1
    assert await caches[0].get(ENTRY, count) == 2
    await store.close()


async def test_what_a_commit_has_outdated_is_computed_anew_soon_and_after_a_rollback_it_is_not(
    caches: tuple[Cache, Cache], postgres: Postgres, database: str
) -> None:
    count, store = Count(), Database(settings_for(postgres.url(database, SERVICE)), caches[1].at_commit)
    await caches[0].get(ENTRY, count)

    async def commit(namespace: str) -> None:
        async with store.transaction() as session:
            await session.execute(text("SELECT 1"))
            outdate(session, namespace)

    async def is_anew(times: int) -> bool:
        return await caches[0].get(ENTRY, count) == times

    with suppress(ValueError):
        async with store.transaction() as session:
            await session.execute(text("SELECT 1"))
            outdate(session, "things")
            raise ValueError
    await commit("others")
    other = Entry("count", "others", SHAPE)
    await caches[0].get(other, Count())
    assert await is_anew(1)
    await commit("things")
    await soon(partial(is_anew, 2))
    await commit("things")
    await soon(partial(is_anew, 3))
    assert await is_anew(3)
    await store.close()


async def test_what_is_outdated_is_given_until_it_was_worth_computing(
    caches: tuple[Cache, Cache],
    postgres: Postgres,
    database: str,
    own_valkey: Valkey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inventory_api.cache._WORTH", 1_000_000)
    count, store = Count(), Database(settings_for(postgres.url(database, SERVICE)), caches[1].at_commit)
    await caches[0].get(ENTRY, count)
    async with store.transaction() as session:
        outdate(session, "things")
    async with Redis.from_url(own_valkey.url) as redis:

        async def is_marked() -> bool:
            return [key async for key in redis.scan_iter("*:outdated")] != []

        await soon(is_marked)

    assert await caches[0].get(ENTRY, count) == 1
    monkeypatch.setattr("inventory_api.cache._WORTH", 0)
    assert await caches[0].get(ENTRY, count) == 2
    await store.close()


async def test_a_commit_waits_for_no_mark_and_one_mark_is_for_many_commits(
    caches: tuple[Cache, Cache], postgres: Postgres, database: str, own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this machine is, all of them are within the time of one mark.
    monkeypatch.setattr("inventory_api.cache._MARK_SECONDS", 3600)
    async with redis_relay(own_valkey.url) as between, Redis.from_url(own_valkey.url) as redis:
        client = Redis.from_url(f"redis://127.0.0.1:{between.port}", socket_timeout=3600)
        pod = Cache(client, Metrics("1", "r1", "7"), "postgresql://one")
        store = Database(settings_for(postgres.url(database, SERVICE)), pod.at_commit)
        between.answers.clear()
        for _ in range(50):
            async with store.transaction() as session:
                outdate(session, "things")

        between.answers.set()

        async def is_marked() -> bool:
            return [key async for key in redis.scan_iter("*:outdated")] != []

        await soon(is_marked)
        assert (await redis.info("commandstats"))["cmdstat_set"]["calls"] == 1
        await pod.close()
        await store.close()
        await client.aclose()


async def test_what_is_getting_old_is_computed_anew_by_one_whom_nobody_waits_for(
    caches: tuple[Cache, Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Count()
    await caches[0].get(ENTRY, count)
    monkeypatch.setattr("inventory_api.cache._EARLY_SECONDS", 0)
    count.may_end.clear()

    async with asyncio.timeout(PATIENCE_SECONDS):
        assert [await caches[n % 2].get(ENTRY, count) for n in range(10)] == [1] * 10
    await soon(partial(_has_begun, count, 2))
    monkeypatch.setattr("inventory_api.cache._EARLY_SECONDS", 30)
    count.may_end.set()

    async def is_anew() -> bool:
        return await caches[1].get(ENTRY, count) == 2

    await soon(is_anew)
    assert count.times == 2


async def test_nobody_waits_long_for_a_redis_that_is_slow_and_only_the_first_at_all(
    caches: tuple[Cache, Cache], own_valkey: Valkey
) -> None:
    count = Count()
    async with redis_relay(own_valkey.url) as between:
        client = Redis.from_url(f"redis://127.0.0.1:{between.port}", socket_timeout=0.25, retry=None)
        pod = Cache(client, Metrics("1", "r1", "7"), "postgresql://one")
        assert await pod.get(ENTRY, count) == 1
        between.late_by_seconds = 60

        started = time.perf_counter()
        assert await pod.get(ENTRY, count) == 2
        first = time.perf_counter() - started
        assert [await pod.get(ENTRY, count) for _ in range(100)] == list(range(3, 103))
        others = time.perf_counter() - started - first

        assert (first < 2, others < 0.25) == (True, True)
        await pod.close()
        await client.aclose()


async def test_what_is_too_old_is_given_while_one_computes_it_anew(
    caches: tuple[Cache, Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Count()
    await caches[0].get(ENTRY, count)
    monkeypatch.setattr("inventory_api.cache._EARLY_SECONDS", 0)
    monkeypatch.setattr("inventory_api.cache._LIFE_SECONDS", 0)
    count.may_end.clear()
    anew = asyncio.create_task(caches[0].get(ENTRY, count))
    await soon(partial(_has_begun, count, 2))

    assert [await caches[n % 2].get(ENTRY, count) for n in range(10)] == [1] * 10
    count.may_end.set()
    assert (await anew, count.times) == (2, 2)


async def test_without_redis_all_is_computed_without_waiting_and_with_it_back_kept_again(
    caches: tuple[Cache, Cache], own_valkey: Valkey
) -> None:
    count = Count()
    await caches[0].get(ENTRY, count)
    own_valkey.stop()
    await caches[0].get(ENTRY, count)
    started = time.perf_counter()
    found = [await caches[0].get(ENTRY, count) for _ in range(100)]
    took = time.perf_counter() - started

    assert found == list(range(3, 103))
    assert took < 0.25
    own_valkey.start()

    async def is_kept() -> bool:
        return await caches[0].get(ENTRY, count) == await caches[0].get(ENTRY, count)

    await soon(is_kept)


class Unreachable(Redis):
    """Redis is away just when it is to be told what is outdated."""

    is_away = True

    async def set(self, name: Any, value: Any, *arguments: Any, **options: Any) -> Any:
        if str(name).endswith(":outdated") and self.is_away:
            self.is_away = False
            raise ConnectionError
        return await super().set(name, value, *arguments, **options)


async def test_a_mark_that_is_lost_with_redis_is_made_up_for_when_it_is_back(
    caches: tuple[Cache, Cache], own_valkey: Valkey, postgres: Postgres, database: str
) -> None:
    count = Count()
    await caches[0].get(ENTRY, count)
    async with Unreachable.from_url(own_valkey.url) as client:
        pod = Cache(client, Metrics("1", "r1", "7"), "postgresql://one")
        store = Database(settings_for(postgres.url(database, SERVICE)), pod.at_commit)
        async with store.transaction() as session:
            outdate(session, "things")

        async def is_anew() -> bool:
            return await caches[0].get(ENTRY, count) == 2

        await soon(is_anew)
        await pod.close()
        await store.close()


async def test_a_commit_while_redis_comes_back_lets_go_of_what_it_touched_too(
    caches: tuple[Cache, Cache], own_valkey: Valkey, postgres: Postgres, database: str
) -> None:
    count = Count()
    async with redis_relay(own_valkey.url) as between, Redis.from_url(own_valkey.url) as redis:
        client = Redis.from_url(
            f"redis://127.0.0.1:{between.port}", socket_timeout=0.5, socket_connect_timeout=0.5, retry=None
        )
        cut_off = Cache(client, Metrics("1", "r1", "7"), "postgresql://one")
        store = Database(settings_for(postgres.url(database, SERVICE)), cut_off.at_commit)

        async def commit() -> None:
            async with store.transaction() as session:
                touch(session, "things")

        async def generation() -> object:
            (key,) = [key async for key in redis.scan_iter("*:generation")]
            return await redis.get(key)

        await caches[0].get(ENTRY, count)
        between.answers.clear()
        await commit()
        before = await generation()
        between.late_by_seconds = 0.3
        between.answers.set()

        async def begins_another() -> bool:
            return await generation() != before

        await soon(begins_another)
        # Redis has the new generation, and the answer is under way.
        old = await caches[0].get(ENTRY, count)
        await commit()

        async def is_let_go() -> bool:
            return await caches[0].get(ENTRY, count) != old

        await soon(is_let_go)
        await cut_off.close()
        await store.close()
        await client.aclose()


async def _has_begun(count: Count, times: int = 1) -> bool:
    return count.times == times


class Held(Redis):
    """Its answers come late: they tell what was there when they were asked for."""

    def hold(self) -> None:
        self.has_answered, self.may_tell, self.times = asyncio.Event(), asyncio.Event(), 0

    async def mget(self, *names: Any) -> Any:
        found = await super().mget(*names)
        self.times += 1
        self.has_answered.set()
        await self.may_tell.wait()
        return found


async def test_who_asks_at_the_same_time_asks_redis_together_and_gets_nothing_from_before_the_wish(
    caches: tuple[Cache, Cache], own_valkey: Valkey
) -> None:
    count = Count()
    assert await caches[0].get(ENTRY, count) == 1
    client = Held.from_url(own_valkey.url)
    assert isinstance(client, Held)
    client.hold()
    async with client:
        pod = Cache(client, Metrics("1", "r1", "7"), "postgresql://one")
        before = [asyncio.create_task(pod.get(ENTRY, count)) for _ in range(10)]
        await client.has_answered.wait()
        session = AsyncSession()
        touch(session, "things")
        await caches[0].at_commit(session)
        asked = client.times
        after = [asyncio.create_task(pod.get(ENTRY, count)) for _ in range(10)]
        await asyncio.sleep(0)
        client.may_tell.set()

        assert (set(await asyncio.gather(*before)), asked) == ({1}, 1)
        assert set(await asyncio.gather(*after)) == {2}
        await pod.close()
