"""Counts what callers do within a time that slides along: in Redis for all pods together, or in this pod alone."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from limits.aio.storage.redis.bridge import RedisBridge
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import NoScriptError

CONNECTIONS = 20
# Callers that a pod remembers; beyond, those that it has not heard of for the longest time start anew.
CALLERS = 20_000


@dataclass(frozen=True)
class Policy:
    """So many of one kind of request in so many seconds, for each caller."""

    name: str
    amount: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Count:
    """Whether so many more were within the policy, how many are left, and in how many seconds there are more again."""

    admitted: bool
    remaining: int
    reset: float


class SharedWindows:
    """Windows in Redis, kept by the scripts of `limits`: one to take, one to look.

    They go in one round trip. The library's own calls send one after the other, each for a tenth of a millisecond of
    this process's time.
    """

    def __init__(self, url: str, patience_seconds: float) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=None,
            socket_timeout=patience_seconds,
            socket_connect_timeout=patience_seconds,
        )
        self.redis = Redis.from_pool(pool)
        self._take = self.redis.register_script(RedisBridge.SCRIPT_ACQUIRE_SLIDING_WINDOW)
        self._look = self.redis.register_script(RedisBridge.SCRIPT_SLIDING_WINDOW)

    async def take(self, policy: Policy, caller: str, cost: int) -> Count:
        """Raises RedisError or OSError when Redis is away."""
        try:
            return await self._run(policy, caller, cost)
        except NoScriptError:  # a Redis that has just started
            # The one that takes comes last: whoever finds it there finds the other, and takes once.
            await self.redis.script_load(self._look.script)
            await self.redis.script_load(self._take.script)
            return await self._run(policy, caller, cost)

    async def forget(self, policy: Policy, caller: str) -> None:
        """Raises RedisError or OSError when Redis is away."""
        await self.redis.delete(*_keys(policy, caller))

    async def close(self) -> None:
        await self.redis.aclose()

    async def _run(self, policy: Policy, caller: str, cost: int) -> Count:
        keys = _keys(policy, caller)
        async with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.evalsha(self._take.sha, 2, *keys, policy.amount, policy.seconds, cost)
            pipeline.evalsha(self._look.sha, 2, *keys, policy.seconds)
            taken, window = await pipeline.execute()
        return _count(policy, bool(taken), *(max(0, int(value or 0)) for value in window))


class LocalWindows:
    """Windows of this pod alone, each of which begins with a caller's first request and ends as a whole."""

    def __init__(self) -> None:
        self._windows: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def take(self, policy: Policy, caller: str) -> Count:
        now, key = time.monotonic(), (policy.name, caller)
        used, end = self._windows.pop(key, (0, 0.0))
        if end <= now:
            used, end = 0, now + policy.seconds
        admitted = used < policy.amount
        self._windows[key] = (used + admitted, end)
        if len(self._windows) > CALLERS:
            self._windows.popitem(last=False)
        return Count(admitted, policy.amount - used - admitted, end - now)

    def forget(self, policy: Policy, caller: str) -> None:
        self._windows.pop((policy.name, caller), None)


def _keys(policy: Policy, caller: str) -> tuple[str, str]:
    """The window before, and that of now; in a Redis cluster, the braces keep them on one node."""
    current = f"inventory:rate:{{{policy.name}/{policy.amount}/{policy.seconds}/{caller}}}"
    return f"{current}/-1", current


def _count(policy: Policy, admitted: bool, before: int, before_left: int, now: int, now_left: int) -> Count:
    """Of the window before, as much counts as still lies within the policy's time. All times are in milliseconds."""
    length = policy.seconds * 1000
    used = before * before_left // length + now
    # The next of the window before leaves the time that counts, or this window becomes the one before: its key lives
    # for twice the time.
    resets = [before_left % (length / before)] if before else []
    resets += [max(0, now_left - length)] if now else []
    return Count(admitted, max(0, policy.amount - used), min(resets, default=0) / 1000)
