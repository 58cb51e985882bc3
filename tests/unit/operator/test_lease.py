"""The leader among several operators."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from inventory_operator.actions import ApplyService
from inventory_operator.apply import apply
from inventory_operator.kube import ApiError, Kube, UnreachableError
from inventory_operator.lease import DURATION_SECONDS, FENCE_SECONDS, Lease, LostLeaseError
from inventory_operator.model import Object

from .world import START, an_app

PATH = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"


@dataclass
class Leases(Kube):
    """The Lease of an API server, with its versions and its conflicts."""

    found: Object | None = None
    version: int = 0
    away: bool = False
    silent: bool = False
    """It takes a request and never answers."""
    written: list[str] = field(default_factory=list)

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = "",
        accept: str = "",
        **query: str,
    ) -> Object:
        if self.away:
            raise UnreachableError("no answer")
        if self.silent:
            await asyncio.Event().wait()
        if method == "GET":
            if self.found is None:
                raise ApiError(404, "not found")
            return self.found
        self.written.append(path)
        if "leases" not in path:
            return {}
        sent = dict(body or {})
        if method == "POST" and self.found is not None:
            raise ApiError(409, "already exists")
        if method == "PUT" and sent["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError(409, "has been modified")
        self.version += 1
        self.found = {**sent, "metadata": {**sent["metadata"], "resourceVersion": str(self.version)}}
        return self.found


@dataclass
class Clock:
    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


def two() -> tuple[Leases, Lease, Lease, Clock]:
    server, clock = Leases(), Clock()
    return server, *(Lease(server, "shop", "operator", name, clock) for name in ("one", "other")), clock  # type: ignore[return-value]


async def test_one_of_two_leads() -> None:
    _, one, other, _ = two()
    await one.step()
    await other.step()
    assert (one.held.is_set(), other.held.is_set()) == (True, False)
    one.guard()
    with pytest.raises(LostLeaseError):
        other.guard()


async def test_of_two_that_find_it_free_one_is_refused() -> None:
    server, one, other, _ = two()
    await one.step()
    await one.release()
    seen = server.found
    await one.step()
    server.found, kept = seen, server.found
    await other.step()
    assert server.written[-1] == f"{PATH}/operator"
    assert not other.held.is_set()
    server.found = kept


async def test_a_leader_that_can_not_renew_stops_before_another_may_begin() -> None:
    server, one, other, clock = two()
    await one.step()
    await other.step()
    server.away = True
    clock.seconds += FENCE_SECONDS + 0.1
    with pytest.raises(LostLeaseError):
        one.guard()
    server.away = False
    await other.step()
    assert not other.held.is_set()
    clock.seconds += DURATION_SECONDS
    await other.step()
    assert other.held.is_set()


async def test_a_renewed_lease_is_not_taken() -> None:
    _, one, other, clock = two()
    await one.step()
    for _ in range(10):
        await other.step()
        clock.seconds += DURATION_SECONDS * 0.6
        await one.step()
    await other.step()
    assert not other.held.is_set()


async def test_one_that_was_given_back_is_free_at_once() -> None:
    _, one, other, _ = two()
    await one.step()
    await one.release()
    await other.step()
    assert other.held.is_set()


async def test_who_finds_another_in_its_place_ends() -> None:
    _, one, other, clock = two()
    await one.step()
    await other.step()
    clock.seconds += DURATION_SECONDS + 1
    await other.step()
    with pytest.raises(LostLeaseError, match="was taken by other"):
        await one.step()


async def test_a_fenced_operator_writes_nothing_more() -> None:
    server, one, _, clock = two()
    await one.step()
    before = list(server.written)
    clock.seconds += FENCE_SECONDS + 1
    with pytest.raises(LostLeaseError):
        await apply(server, an_app(), (ApplyService(None),), START, [], one.guard)
    assert server.written == before


async def test_a_leader_whose_api_server_is_silent_ends_in_time_with_all_that_it_has_on_its_way() -> None:
    """Its own requests may wait for 15 s: a write of before that came through then would come beside another leader."""
    server, skipped = Leases(), [0.0]
    lease = Lease(server, "shop", "operator", "one", lambda: time.monotonic() + skipped[0])
    await lease.step()
    server.silent = True
    skipped[0] = FENCE_SECONDS - 0.2
    writing: list[asyncio.Task[object]] = []

    async def leads() -> None:
        async with asyncio.timeout(DURATION_SECONDS - FENCE_SECONDS), asyncio.TaskGroup() as group:
            group.create_task(lease.keep())
            write = apply(server, an_app(), (ApplyService(None),), START, [], lease.guard)
            writing.append(group.create_task(write))

    with pytest.raises(ExceptionGroup) as ended:
        await leads()
    assert isinstance(ended.value.exceptions[0], LostLeaseError)
    assert writing[0].cancelled()
