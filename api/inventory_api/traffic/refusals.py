"""How often requests were turned away before they reached an endpoint, and why."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter

Reason = Literal["host", "overload", "rate", "time"]


class Refusals:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = Counter(
            "inventory_requests_refused",
            "Requests turned away: of an unknown host, past saturation, above a rate, or out of time.",
            ["reason"],
            registry=registry,
        )
        self._by_reason = {reason: counter.labels(reason) for reason in ("host", "overload", "rate", "time")}

    def count(self, reason: Reason) -> None:
        self._by_reason[reason].inc()
