"""A coalescing queue of keys: a burst of events is one reconcile, and no key is ever worked on twice at a time."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable

Key = tuple[str, str]
"""Namespace and name."""

BACKOFF_FIRST_SECONDS = 0.2
BACKOFF_MOST_SECONDS = 60.0


def backoff(failures: int) -> float:
    """Seconds after so many failures in a row."""
    return min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures - 1, 20))


class Queue:
    """`work` is called for each key that was added; it returns the seconds until the key wants a look anyway.

    A key that is added while it is worked on is worked on once more afterwards. A `work` that raises is tried again
    after a growing, jittered time.
    """

    def __init__(self, work: Callable[[Key], Awaitable[float | None]], workers: int) -> None:
        self._work = work
        self._workers = workers
        self._ready: asyncio.PriorityQueue[tuple[bool, int, Key]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._dirty: dict[Key, bool] = {}
        """Keys that wait for their turn, and whether they may wait."""
        self._busy: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, *, may_wait: bool = False) -> None:
        """Work on this key soon; one that may wait comes after all others, as those that a start finds at rest."""
        self._cancel_timer(key)
        if key not in self._dirty or self._dirty[key] > may_wait:
            self._dirty[key] = may_wait
            if key not in self._busy:
                self._put(key)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            _, _, key = await self._ready.get()
            if key in self._busy or key not in self._dirty:
                continue  # its turn came sooner than was thought at first
            del self._dirty[key]
            self._busy.add(key)
            try:
                after = await self._work(key)
            except Exception:
                # `work` logs what it knows; here it only matters that the key is not lost.
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                after = backoff(failures) * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret
            else:
                self._failures.pop(key, None)
            self._busy.discard(key)
            if key in self._dirty:
                self._put(key)
            elif after is not None:
                self._timers[key] = asyncio.get_running_loop().call_later(after, self.add, key)

    def _put(self, key: Key) -> None:
        self._ready.put_nowait((self._dirty[key], next(self._numbers), key))

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()
