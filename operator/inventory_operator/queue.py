"""A coalescing queue of keys: a burst of events is one reconcile, and no key is ever worked on twice at a time."""

import asyncio
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
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._dirty: set[Key] = set()
        self._busy: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Work on this key soon."""
        self._cancel_timer(key)
        if key not in self._dirty:
            self._dirty.add(key)
            if key not in self._busy:
                self._ready.put_nowait(key)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._dirty.discard(key)
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
                self._ready.put_nowait(key)
            elif after is not None:
                self._timers[key] = asyncio.get_running_loop().call_later(after, self.add, key)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()
