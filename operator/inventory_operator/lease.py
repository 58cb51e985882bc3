"""The leader among several replicas, by a Lease: who does not hold it does nothing.

Facts of the holder are its own clock's: a Lease counts as lost when it has not been renewed for its duration, whatever
the cause, and as free when it has not changed for so long, as seen from here. So clocks need not agree.
(https://kubernetes.io/docs/concepts/architecture/leases/)
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from .kube import ApiError, Kube, UnreachableError
from .model import Object

log = logging.getLogger(__name__)

DURATION_SECONDS = 15.0
RENEW_SECONDS = 5.0
RETRY_SECONDS = 2.0
FENCE_SECONDS = 10.0
"""A holder that could not renew for so long stops, well before another may begin."""


class LostLeaseError(Exception):
    """Somebody else may be leading by now: do nothing more."""


class Lease:
    """Held or not; `guard` is asked before each write."""

    def __init__(
        self, kube: Kube, namespace: str, name: str, identity: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube, self._name, self._identity, self._clock = kube, name, identity, clock
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._renewed = float("-inf")
        self._seen: tuple[str, float] = ("", float("-inf"))
        self.held = asyncio.Event()

    def guard(self) -> None:
        """Raises LostLeaseError unless the Lease is held, and was renewed not long ago."""
        if not self.held.is_set() or self._left() < 0:
            raise LostLeaseError("the Lease is not held")

    async def keep(self) -> None:
        """Takes the Lease when it is free, and renews it. Raises LostLeaseError when it is lost: then it is over."""
        while True:
            try:
                # No request of ours is on its way any more when another may begin: what waits for this one ends first.
                async with asyncio.timeout(self._left() if self.held.is_set() else None):
                    await self.step()
            except (ApiError, UnreachableError, TimeoutError) as error:
                log.warning("the Lease %s can't be renewed: %s", self._name, error or "no answer in time")
            if self.held.is_set() and self._left() <= 0:
                raise LostLeaseError(f"the Lease {self._name} was not renewed for {FENCE_SECONDS:g} s")
            await asyncio.sleep(min(RENEW_SECONDS, self._left()) if self.held.is_set() else RETRY_SECONDS)

    def _left(self) -> float:
        """Seconds until a Lease that is held counts as lost."""
        return self._renewed + FENCE_SECONDS - self._clock()

    async def step(self) -> None:
        """One look, and one write if it is ours or free.

        Raises LostLeaseError if another has taken what was held, ApiError and UnreachableError.
        """
        began = self._clock()
        found = await self._kube.get(f"{self._path}/{self._name}")
        if found is not None and not self._may_take(found):
            if self.held.is_set():
                raise LostLeaseError(f"the Lease {self._name} was taken by {found['spec'].get('holderIdentity')}")
            return
        try:
            await self._write(found)
        except ApiError as error:
            if error.status == 409:
                return  # another was quicker; the next look tells
            raise
        self._renewed = began
        if not self.held.is_set():
            log.info("leading: %s holds the Lease %s", self._identity, self._name)
            self.held.set()

    async def release(self) -> None:
        """At an orderly end the next one need not wait. An error here only costs it that wait."""
        if not self.held.is_set():
            return
        self.held.clear()
        try:
            found = await self._kube.get(f"{self._path}/{self._name}")
            if found and found["spec"].get("holderIdentity") == self._identity:
                spec = {**found["spec"], "holderIdentity": ""}
                await self._kube.request("PUT", f"{self._path}/{self._name}", {**found, "spec": spec})
        except (ApiError, UnreachableError) as error:
            log.warning("the Lease %s could not be given back: %s", self._name, error)

    def _may_take(self, found: Object) -> bool:
        holder = found["spec"].get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        version = found["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, self._clock())
        return self._clock() - self._seen[1] > float(found["spec"].get("leaseDurationSeconds") or DURATION_SECONDS)

    async def _write(self, found: Object | None) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = found["spec"] if found else {}
        again = before.get("holderIdentity") == self._identity
        spec: Object = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION_SECONDS),
            "renewTime": now,
            "acquireTime": before.get("acquireTime", now) if again else now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if again or not found else 1),
        }
        if found is None:
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": spec,
            }
            await self._kube.create(self._path, body)
        else:
            # With the version that was read: of two that find it free, one is refused.
            await self._kube.request("PUT", f"{self._path}/{self._name}", {**found, "spec": spec})
