"""The coalescing queue."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from inventory_operator.queue import BACKOFF_FIRST_SECONDS, BACKOFF_MOST_SECONDS, Key, Queue, backoff

A: Key = ("shop", "a")
B: Key = ("shop", "b")


@asynccontextmanager
async def running(work: Callable[[Key], Awaitable[float | None]], workers: int = 4) -> AsyncIterator[Queue]:
    queue = Queue(work, workers)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_burst_of_events_is_one_look_now_and_one_after_it() -> None:
    begun, go, looks = asyncio.Event(), asyncio.Event(), []

    async def work(key: Key) -> None:
        looks.append(key)
        begun.set()
        await go.wait()

    async with asyncio.timeout(5), running(work) as queue:
        queue.add(A)
        await begun.wait()
        for _ in range(20):
            queue.add(A)
        go.set()
        begun.clear()
        await begun.wait()
    assert looks == [A, A]


async def test_a_key_is_never_worked_on_twice_at_a_time_but_others_are_beside_it() -> None:
    at_work: list[Key] = []
    both, go = asyncio.Event(), asyncio.Event()

    async def work(key: Key) -> None:
        assert key not in at_work
        at_work.append(key)
        if len(at_work) == 2:
            both.set()
        await go.wait()
        at_work.remove(key)

    async with asyncio.timeout(5), running(work) as queue:
        queue.add(A)
        queue.add(A)
        queue.add(B)
        await both.wait()
        assert sorted(at_work) == [A, B]
        queue.add(A)
        go.set()


async def test_work_that_raises_is_done_again() -> None:
    done, tries = asyncio.Event(), []

    async def work(key: Key) -> None:
        tries.append(key)
        if len(tries) == 1:
            raise RuntimeError("once")
        done.set()

    async with asyncio.timeout(5), running(work) as queue:
        queue.add(A)
        await done.wait()
    assert tries == [A, A]


class Held:
    """Work that tells which keys it was called for, and goes on when it may."""

    def __init__(self) -> None:
        self.go, self.looks = asyncio.Event(), asyncio.Queue[Key]()

    async def work(self, key: Key) -> None:
        self.looks.put_nowait(key)
        await self.go.wait()


async def test_what_may_wait_comes_after_all_others_and_each_once() -> None:
    held, first, many = Held(), ("shop", "first"), [("shop", str(number)) for number in range(5)]
    async with asyncio.timeout(5), running(held.work, workers=1) as queue:
        queue.add(first)
        found = [await held.looks.get()]
        for key in many:
            queue.add(key, may_wait=True)
        queue.add(A)
        queue.add(many[3])  # it may wait no longer
        queue.add(many[4], may_wait=True)
        queue.add(A, may_wait=True)
        held.go.set()
        found += [await held.looks.get() for _ in range(6)]
        queue.add(B, may_wait=True)
        found.append(await held.looks.get())
    assert found == [first, A, many[3], many[0], many[1], many[2], many[4], B]


async def test_what_is_at_work_and_waits_again_waits_no_longer_than_it_must() -> None:
    held = Held()
    async with asyncio.timeout(5), running(held.work, workers=1) as queue:
        queue.add(A)
        found = [await held.looks.get()]
        queue.add(B, may_wait=True)
        queue.add(A, may_wait=True)
        queue.add(A)
        held.go.set()
        found += [await held.looks.get() for _ in range(2)]
    assert found == [A, A, B]


def test_pauses_grow_and_stop_growing_however_often_work_fails() -> None:
    assert [backoff(failures) / BACKOFF_FIRST_SECONDS for failures in (1, 2, 3)] == [1, 2, 4]
    assert backoff(100_000) == BACKOFF_MOST_SECONDS
