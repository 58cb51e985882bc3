"""Rates by caller, counted in Redis, and by this pod alone while Redis is away."""

import asyncio
import time
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager, nullcontext, suppress

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from inventory_api.traffic.windows import CALLERS, CONNECTIONS, Count, LocalWindows, Policy, SharedWindows

log = structlog.get_logger()

# A round trip within a cluster takes a millisecond. Whoever waits longer than this waits for a Redis that is away.
_PATIENCE_SECONDS = 0.25
_LOOK_AGAIN_SECONDS = 1.0
_PROBE = Policy("probe", 1_000_000, 60)
# A caller in a hurry gets several requests at once from Redis, up to this share of its policy, and uses them up here:
# a round trip for each would cost as much as all the rest of a short request.
_LARGEST_SHARE = 100
# One that comes back for more within this time is in a hurry.
_HURRY_SECONDS = 1.0
# What it has not used by then is lost to it.
_KEPT_SECONDS = 2.0
# So long is a refusal believed without asking again, or who is refused would cost the most.
_REFUSED_SECONDS = 1.0


class _Share:
    """What one caller has got of one policy, and not used yet; or until when it gets nothing."""

    def __init__(self, policy: Policy) -> None:
        self._most = max(1, policy.amount // _LARGEST_SHARE)
        self._size = 1
        self._left = 0
        self._count = Count(True, 1, 0)
        self._at = self._until = 0.0
        self.turn: AbstractAsyncContextManager[object] = asyncio.Lock() if self._most > 1 else nullcontext()

    def use(self) -> Count | None:
        """None if Redis must be asked."""
        now = time.monotonic()
        if now >= self._until:
            return None
        reset = max(0.0, self._count.reset - (now - self._at))
        if not self._count.admitted:
            return Count(False, 0, reset)
        if not self._left:
            return None
        self._left -= 1
        return Count(True, self._count.remaining + self._left, reset)

    def wanted(self) -> int:
        """Twice as many as the last time for who has used those up already, but no more than there were left."""
        hurries = time.monotonic() - self._at < _HURRY_SECONDS
        self._size = min(2 * self._size, self._most) if hurries else 1
        return max(1, min(self._size, self._count.remaining))

    def got(self, cost: int, count: Count) -> Count:
        """Keeps what one request leaves of it."""
        self._count, self._at = count, time.monotonic()
        self._left = cost - 1 if count.admitted else 0
        self._until = self._at + (_KEPT_SECONDS if count.admitted else min(count.reset, _REFUSED_SECONDS))
        return Count(count.admitted, count.remaining + self._left, count.reset)


class Rates:
    """Never admits more than a policy allows while Redis is there; while it is away, each pod admits so many.

    A Redis that does not answer in time is left at once and by all; it is tried in the background, not by requests.
    """

    def __init__(self, redis_url: str | None, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._shared = SharedWindows(redis_url, patience_seconds) if redis_url else None
        self._local = LocalWindows()
        self._shares: OrderedDict[tuple[str, str], _Share] = OrderedDict()
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._return: asyncio.Task[None] | None = None

    @property
    def redis(self) -> Redis | None:
        """The client, for whoever wants to know how Redis is."""
        return self._shared.redis if self._shared else None

    async def take(self, policy: Policy, caller: str) -> Count:
        """One more request of this caller's."""
        if self._shared is None or self._return is not None:
            return self._local.take(policy, caller)
        share = self._share(policy, caller)
        return share.use() or await self._take_shared(self._shared, share, policy, caller)

    async def forget(self, policy: Policy, caller: str) -> None:
        """The caller starts anew."""
        self._local.forget(policy, caller)
        self._shares.pop((policy.name, caller), None)
        if self._shared is None or self._return is not None:
            return
        try:
            await self._shared.forget(policy, caller)
        except (RedisError, OSError) as error:
            self._leave(self._shared, error)

    async def close(self) -> None:
        if self._return is not None:
            self._return.cancel()
            with suppress(asyncio.CancelledError):
                await self._return
        if self._shared is not None:
            await self._shared.close()

    async def _take_shared(self, shared: SharedWindows, share: _Share, policy: Policy, caller: str) -> Count:
        async with share.turn, self._turns:
            # While this one waited for its turn, another has got some, or Redis has gone.
            if self._return is not None:
                return self._local.take(policy, caller)
            if found := share.use():
                return found
            try:
                cost = share.wanted()
                count = await shared.take(policy, caller, cost)
                if not count.admitted and cost > 1:
                    cost = 1
                    count = await shared.take(policy, caller, cost)
                return share.got(cost, count)
            except (RedisError, OSError) as error:
                self._leave(shared, error)
                return self._local.take(policy, caller)

    def _share(self, policy: Policy, caller: str) -> _Share:
        key = (policy.name, caller)
        share = self._shares.pop(key, None) or _Share(policy)
        self._shares[key] = share
        if len(self._shares) > CALLERS:
            self._shares.popitem(last=False)
        return share

    def _leave(self, shared: SharedWindows, error: Exception) -> None:
        if self._return is None:
            log.warning("this pod counts rates alone while Redis is away", error=type(error).__name__)
            self._return = asyncio.create_task(self._come_back(shared))

    async def _come_back(self, shared: SharedWindows) -> None:
        while True:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            with suppress(RedisError, OSError):
                await shared.take(_PROBE, "", 1)
                break
        log.info("Redis is back and counts rates for all pods")
        self._return = None
