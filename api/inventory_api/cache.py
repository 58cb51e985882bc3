"""Answers kept in Redis for all pods, as JSON: never needed, and let go with the commit that changes them.

What is kept bears the mark of its namespace's generation at the time before it was computed. A transaction that
touches a namespace gives it another mark before its commit and after it: what was computed from the state before
bears a mark that is gone. A mark that gets lost with a Redis that went away is replaced when it is back, and nothing
outlives its time.

Stock changes with nearly every request, and what sums it up would be computed for each. So what such a transaction
outdates is marked a moment after its commit, once for all of that moment, and is computed anew when it has been of use
for so long that computing takes a twentieth of the time at most.
"""

import asyncio
import hashlib
import json
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import structlog
from pydantic import TypeAdapter
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.metrics import CacheResult, Metrics

log = structlog.get_logger()
Kept = TypeVar("Kept")

_PREFIX = "inventory:cache:v1"
_TOUCHED = "touched namespaces"
_OUTDATED = "outdated namespaces"
_LIFE_SECONDS = 30.0
# From then on, one caller has it computed anew while all others still get what there is.
_EARLY_SECONDS = 0.8 * _LIFE_SECONDS
# So old is what those may get who come while it is computed anew.
_KEPT_SECONDS = 2 * _LIFE_SECONDS
# What is outdated is given all the same for so many times as long as it took to compute.
_WORTH = 20.0
# One mark is for all commits of that time.
_MARK_SECONDS = 0.1
# Longer than any statement may take.
_LOCK_SECONDS = 15.0
# Who has waited so long for another pod computes it too.
_PATIENCE_SECONDS = 3.0
_LOOK_AGAIN_SECONDS = 0.05
_PROBE_SECONDS = 1.0
_UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


@dataclass(frozen=True)
class Entry(Generic[Kept]):
    """One answer: its name, which has a version of its shape, and the namespace whose changes make it wrong."""

    name: str
    namespace: str
    shape: TypeAdapter[Kept]


@dataclass(frozen=True)
class _Found:
    """The namespace's marks, and what is kept of it with its age in seconds."""

    generation: str
    outdated: str
    age: float = math.inf
    value: Any = None


@dataclass(frozen=True)
class _Record:
    """An answer as it is kept: the marks it is of, when its computing began, and how many seconds it took."""

    generation: str
    outdated: str
    at: float
    took: float
    value: Any


class _Questions:
    """Puts one question for all who have it at the same time.

    Who comes while it is put shares the next one with others that do: no answer is older than the wish for it.
    """

    def __init__(self, put: Callable[[], Coroutine[Any, Any, "_Found"]]) -> None:
        self._put = put
        self._now: asyncio.Task[_Found] | None = None
        self._next: asyncio.Task[_Found] | None = None

    async def ask(self) -> "_Found":
        """Raises what putting the question raises; nobody who leaves ends it for others."""
        if self._next is None:
            self._next = asyncio.create_task(self._put_after(self._now))
            self._next.add_done_callback(_heard)
        return await asyncio.shield(self._next)

    def cancel(self) -> None:
        for task in (self._now, self._next):
            if task is not None:
                task.cancel()

    async def _put_after(self, before: "asyncio.Task[_Found] | None") -> "_Found":
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._now, self._next = self._next, None
        return await self._put()


class _AwayError(Exception):
    """Redis did not answer."""


def touch(session: AsyncSession, namespace: str) -> None:
    """Has all that is kept of the namespace let go if the session's work is committed."""
    session.info.setdefault(_TOUCHED, set()).add(namespace)


def outdate(session: AsyncSession, namespace: str) -> None:
    """Has what is kept of the namespace computed anew soon, if the session's work is committed; costs it nothing."""
    session.info.setdefault(_OUTDATED, set()).add(namespace)


class Cache:
    """Computes once at a time in a pod, and nearly always once in all pods; alone while Redis is away."""

    def __init__(self, redis: Redis | None, metrics: Metrics, database_url: str) -> None:
        """Services of other databases may share the Redis, and have answers of their own."""
        self._redis = redis
        where = make_url(database_url).set(username=None, password=None).render_as_string()
        self._owner = hashlib.sha256(where.encode()).hexdigest()[:16]
        self._metrics = metrics
        self._flights: dict[tuple[str, str], asyncio.Task[Any]] = {}
        self._lost: set[str] = set()
        self._outdated: set[str] = set()
        self._marking: asyncio.Task[None] | None = None
        self._questions: dict[Entry[Any], _Questions] = {}
        self._records: dict[Entry[Any], tuple[bytes, _Record]] = {}
        """What was kept of each entry when it was looked at last, and what it says: it seldom is something else."""
        self._return: asyncio.Task[None] | None = None

    async def get(self, entry: Entry[Kept], compute: Callable[[], Awaitable[Kept]]) -> Kept:
        """What is kept, or else what is computed, whose errors are raised."""
        try:
            found = await self._look(entry)
            if found.age >= _EARLY_SECONDS:
                lock = await self._lock(entry)
                if lock is not None:
                    renewal = self._fly(entry, lock, self._renew(entry, compute, found, lock))
                    if found.age >= _LIFE_SECONDS:
                        self._count(entry, "miss")
                        return await _of(renewal)
                elif found.age >= _KEPT_SECONDS:
                    self._count(entry, "miss")
                    return await _of(self._fly(entry, found.generation, self._await(entry, compute)))
        except _AwayError:
            self._count(entry, "error")
            return await _of(self._fly(entry, "", _computed(compute)))
        self._count(entry, "hit" if found.age < _LIFE_SECONDS else "stale")
        value: Kept = found.value
        return value

    async def at_commit(self, session: AsyncSession) -> None:
        """Gives what the session touched another generation: to be called before its commit and after it.

        What it outdated is marked after it, in the background.
        """
        if self._redis is None:
            return
        if _OUTDATED in session.info and not session.in_transaction():
            self._outdated |= session.info[_OUTDATED]
            if self._marking is None:
                self._marking = asyncio.create_task(self._mark())
        for namespace in session.info.get(_TOUCHED, ()):
            try:
                await self._ask(partial(self._begin_generation, namespace))
            except _AwayError:
                self._lost.add(namespace)

    async def close(self) -> None:
        for questions in self._questions.values():
            questions.cancel()
        tasks = [*self._flights.values(), *(task for task in (self._return, self._marking) if task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, entry: Entry[Kept]) -> "_Found":
        questions = self._questions.get(entry)
        if questions is None:
            questions = self._questions[entry] = _Questions(partial(self._look_in_redis, entry))
        return await questions.ask()

    async def _look_in_redis(self, entry: Entry[Kept]) -> "_Found":
        names = [self._key(entry), self._generation(entry.namespace), self._mark_of(entry.namespace)]
        kept, generation, mark = await self._ask(lambda redis: redis.mget(names))
        if generation is None:
            # A mark that is lost must not come again, or what was kept under it would.
            await self._ask(lambda redis: redis.set(names[1], uuid.uuid4().hex, nx=True))
            generation = await self._ask(lambda redis: redis.get(names[1])) or b""
        now, outdated = generation.decode(), (mark or b"").decode()
        if kept is not None:
            with suppress(ValueError, KeyError, TypeError):
                record = self._read(entry, kept)
                if record.generation == now:
                    age = time.time() - record.at
                    if record.outdated != outdated and age >= _WORTH * record.took:
                        age = max(age, _LIFE_SECONDS)
                    return _Found(now, outdated, age, record.value)
        return _Found(now, outdated)

    def _read(self, entry: Entry[Kept], kept: bytes) -> "_Record":
        """Raises ValueError, KeyError or TypeError where it is no record of this shape."""
        known = self._records.get(entry)
        if known is not None and known[0] == kept:
            return known[1]
        told = json.loads(kept)
        value = entry.shape.validate_python(told["value"])
        record = _Record(told["generation"], told["outdated"], told["at"], told["took"], value)
        self._records[entry] = kept, record
        return record

    async def _await(self, entry: Entry[Kept], compute: Callable[[], Awaitable[Kept]]) -> Kept:
        """What another pod computes, or what is computed here once the other gives up or takes too long."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        try:
            while time.monotonic() < deadline:
                found = await self._look(entry)
                if found.age < _LIFE_SECONDS:
                    value: Kept = found.value
                    return value
                lock = await self._lock(entry)
                if lock is not None:
                    return await self._renew(entry, compute, found, lock)
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        except _AwayError:
            pass
        return await compute()

    async def _renew(
        self, entry: Entry[Kept], compute: Callable[[], Awaitable[Kept]], marked: "_Found", lock: str
    ) -> Kept:
        """What is computed, kept with the marks that were found before."""
        try:
            with suppress(_AwayError):
                found = await self._look(entry)
                if found.age < _EARLY_SECONDS:
                    # Another had the lock until a moment ago.
                    fresh: Kept = found.value
                    return fresh
            at, value = time.time(), await compute()
            record = {
                "generation": marked.generation,
                "outdated": marked.outdated,
                "at": at,
                "took": time.time() - at,
                "value": entry.shape.dump_python(value, mode="json"),
            }
            life = int(_KEPT_SECONDS * 1000)
            with suppress(_AwayError):
                await self._ask(lambda redis: redis.set(self._key(entry), json.dumps(record), px=life))
            return value
        finally:
            with suppress(_AwayError):
                await self._ask(lambda redis: redis.eval(_UNLOCK, 1, f"{self._key(entry)}:lock", lock))

    async def _lock(self, entry: Entry[Kept]) -> str | None:
        """The key to it; None while another has it."""
        lock, life = uuid.uuid4().hex, int(_LOCK_SECONDS * 1000)
        taken = await self._ask(lambda redis: redis.set(f"{self._key(entry)}:lock", lock, nx=True, px=life))
        return lock if taken else None

    def _fly(self, entry: Entry[Kept], mark: str, work: Coroutine[Any, Any, Kept]) -> asyncio.Task[Kept]:
        """The work, or the same work that is under way already; nobody who leaves it ends it for others."""
        key = (self._key(entry), mark)
        if (found := self._flights.get(key)) is not None:
            work.close()
            return found
        task = self._flights[key] = asyncio.create_task(work)
        task.add_done_callback(lambda done: self._land(key, done))
        return task

    def _land(self, key: tuple[str, str], done: asyncio.Task[Any]) -> None:
        del self._flights[key]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.info("what is cached was not computed", entry=key[0], error=type(error).__name__)

    async def _mark(self) -> None:
        try:
            while self._outdated:
                namespaces, self._outdated = self._outdated, set()
                for namespace in namespaces:
                    try:
                        await self._ask(partial(self._outdate, namespace))
                    except _AwayError:
                        self._lost.add(namespace)
                await asyncio.sleep(_MARK_SECONDS)
        finally:
            self._marking = None

    async def _ask(self, question: Callable[[Redis], Any]) -> Any:
        """Raises _AwayError at once while Redis is known to be away."""
        if self._redis is None or self._return is not None:
            raise _AwayError
        try:
            return await question(self._redis)
        except (RedisError, OSError) as error:
            if self._return is None:
                log.warning("nothing is cached while Redis is away", error=type(error).__name__)
                self._return = asyncio.create_task(self._come_back(self._redis))
            raise _AwayError from error

    async def _come_back(self, redis: Redis) -> None:
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            with suppress(RedisError, OSError):
                await redis.ping()
                while self._lost:
                    # Taken out first: a commit meanwhile puts it in again.
                    namespace = self._lost.pop()
                    try:
                        await self._begin_generation(namespace, redis)
                    except (RedisError, OSError):
                        self._lost.add(namespace)
                        raise
                break
        self._return = None

    def _count(self, entry: Entry[Any], result: CacheResult) -> None:
        self._metrics.cache_answered(entry.name, result)

    async def _begin_generation(self, namespace: str, redis: Redis) -> None:
        await redis.set(self._generation(namespace), uuid.uuid4().hex)

    async def _outdate(self, namespace: str, redis: Redis) -> None:
        await redis.set(self._mark_of(namespace), uuid.uuid4().hex)

    def _key(self, entry: Entry[Any]) -> str:
        # In a Redis cluster, the braces keep it on one node with its generation.
        return f"{_PREFIX}:{{{self._owner}:{entry.namespace}}}:{entry.name}"

    def _generation(self, namespace: str) -> str:
        return f"{_PREFIX}:{{{self._owner}:{namespace}}}:generation"

    def _mark_of(self, namespace: str) -> str:
        return f"{_PREFIX}:{{{self._owner}:{namespace}}}:outdated"


def _heard(done: asyncio.Task[Any]) -> None:
    """Everybody may have left before it failed."""
    if not done.cancelled():
        done.exception()


async def _of(task: asyncio.Task[Kept]) -> Kept:
    return await asyncio.shield(task)


async def _computed(compute: Callable[[], Awaitable[Kept]]) -> Kept:
    return await compute()
