"""The operator as its command line starts it: when it counts as alive, and its Lease while it is busy."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from inventory_operator import cli

from .api_server import ApiServer, Object
from .running_operator import APPS, Served, running_operator

NAMES = [f"{APPS}/{number}" for number in range(cli.WORKERS)]
"""An app for each worker."""
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/operator"


class Clock:
    """What silence is measured by."""

    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cli, "time", clock)
    return clock


@pytest.fixture
def objects() -> ApiServer:
    server = ApiServer()
    for number, path in enumerate(NAMES):
        meta = {"namespace": "shop", "name": str(number), "uid": f"uid-{number}", "generation": 1}
        server.objects[path] = {"metadata": meta, "spec": {"image": "api:1", "replicas": 1}}
    return server


@pytest.fixture
def served(objects: ApiServer) -> Served:
    return Served(objects)


Alive = Callable[[], Awaitable[bool]]
Start = Callable[..., AbstractAsyncContextManager[Alive]]


@pytest.fixture
def start(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr("inventory_operator.handlers.ROUNDUP_SECONDS", 0.01)
    monkeypatch.setattr("inventory_operator.lease.RENEW_SECONDS", 0.01)
    monkeypatch.setattr("inventory_operator.lease.RETRY_SECONDS", 0.01)

    def started(*arguments: str) -> AbstractAsyncContextManager[Alive]:
        return running_operator(served, tmp_path, monkeypatch, *arguments)

    return started


def a_lease(holder: str) -> Object:
    """It is renewed no more, but that takes a while to be seen."""
    meta = {"name": "operator", "resourceVersion": "1"}
    return {"metadata": meta, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15}}


async def the_next_roundup_begins(served: Served) -> None:
    await served.until_called("GET", APPS, times=2)  # the first of them may have begun before


async def all_of_these_wait(served: Served, *paths: str) -> None:
    await served.until(lambda: {("GET", path) for path in paths} <= set(served.calls))


async def test_an_operator_whose_roundup_goes_on_is_alive(start: Start, served: Served, clock: Clock) -> None:
    async with start() as alive:
        for _ in range(3):
            clock.seconds += cli.SILENT_SECONDS - 1
            assert await alive()
            await the_next_roundup_begins(served)


async def test_an_operator_whose_roundup_gets_no_answer_is_dead_until_it_does(
    start: Start, served: Served, clock: Clock
) -> None:
    async with start() as alive:
        await served.leave_unanswered(lambda path: path == APPS)
        await served.until_called("GET", APPS, times=1)
        clock.seconds += cli.SILENT_SECONDS - 1
        assert await alive()
        clock.seconds += 1
        assert not await alive()
        await served.answer_all()
        await the_next_roundup_begins(served)
        assert await alive()


async def test_an_operator_is_dead_when_each_of_its_workers_hangs_in_a_pass_and_not_before(
    start: Start, served: Served, objects: ApiServer, clock: Clock
) -> None:
    *others, last = NAMES
    await served.leave_unanswered(lambda path: path in others)
    async with start() as alive:
        await all_of_these_wait(served, *others)
        clock.seconds += cli.SILENT_SECONDS
        await the_next_roundup_begins(served)
        assert await alive()
        await served.leave_unanswered(lambda path: path in NAMES)
        objects.objects[last]["metadata"]["generation"] += 1
        await served.until_called("GET", last, times=1)
        clock.seconds += cli.SILENT_SECONDS
        assert not any([await alive() for _ in range(20)])  # for longer than a roundup takes to come again
        await served.answer_all()
        await the_next_roundup_begins(served)
        assert await alive()


async def test_one_that_stands_by_is_alive_however_long_it_does_nothing_and_is_judged_once_it_leads(
    start: Start, served: Served, objects: ApiServer, clock: Clock
) -> None:
    objects.objects[LEASE] = a_lease(holder="another")
    async with start("--lease=operator") as alive:
        clock.seconds += 10 * cli.SILENT_SECONDS
        await served.until_called("GET", LEASE, times=2)
        assert await alive()
        assert ("GET", APPS) not in served.calls
        await served.leave_unanswered(lambda path: path == APPS)
        objects.objects[LEASE] = a_lease(holder="")
        await served.until_called("GET", APPS, times=1)
        assert await alive()
        clock.seconds += cli.SILENT_SECONDS
        assert not await alive()


async def test_a_lease_is_renewed_while_every_worker_waits_for_the_api_server(
    start: Start, served: Served, objects: ApiServer
) -> None:
    """Whoever renews it shares the client and its connections with all passes."""
    objects.objects[LEASE] = a_lease(holder="")
    await served.leave_unanswered(lambda path: "/namespaces/shop/" in path and path != APPS)
    async with start("--lease=operator"):
        await all_of_these_wait(served, *NAMES)
        await served.until_called("PUT", LEASE, times=10)
