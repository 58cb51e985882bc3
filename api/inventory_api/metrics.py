"""What Prometheus sees. Labels are bounded: routes by their template, methods from a list, all else by the code."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from inventory_api.pool import WatchedPool

PLAIN_TEXT = "text/plain; version=0.0.4; charset=utf-8"
CacheResult = Literal["hit", "miss", "stale", "error"]
Refusal = Literal["host", "overload", "time"]
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# One more series for each that counts, which says when it began; the process's start says nearly the same.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Figures:
    """How much there is of what the service is about."""

    items: int
    open_loans: int
    overdue_loans: int
    low_stock_items: int


class Metrics:
    def __init__(self, version: str, release: str, revision: str) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.in_progress = 0
        self._requests = self._counter("http_requests", "Requests answered.", "method", "route", "status")
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        # Looking a series up by its labels takes longer than counting in it.
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._gauge("http_requests_in_progress", "Requests being answered now.").set_function(lambda: self.in_progress)
        self.ready = self._gauge("inventory_ready", "1 once the schema is one that this release runs on.")
        self._cache = self._counter("inventory_cache_answers", "Whether the cache had an answer.", "cache", "result")
        self._rate_limited = self._counter(
            "inventory_rate_limited", "Requests refused because their caller sent too many.", "route_class"
        )
        self._refused = self._counter(
            "inventory_requests_refused",
            "Requests turned away: of a foreign host, past saturation, out of time.",
            "reason",
        )
        self._security_events = self._counter(
            "inventory_security_events", "What security wants to see, such as failed sign-ins.", "kind"
        )
        self._rows_lost = self._counter(
            "inventory_rows_lost", "Rows that were to be written after the answer, and never were.", "table"
        )
        self._spans = self._counter(
            "inventory_trace_spans", "Spans that the collector took, and those that it could not be given.", "result"
        )
        self._figures = {
            "items": self._unknown("inventory_items", "Items in the catalogue; above 10,000 an estimate."),
            "open_loans": self._unknown("inventory_open_loans", "Loans not yet returned; each part of a kit is one."),
            "overdue_loans": self._unknown("inventory_overdue_loans", "Open loans that were due before now."),
            "low_stock_items": self._unknown(
                "inventory_low_stock_items", "Items of which fewer are available than their minimum stock."
            ),
        }
        self._figures_at = self._unknown(
            "inventory_figures_timestamp_seconds", "When the figures of items and loans were last taken, in Unix time."
        )
        Gauge(
            "inventory_build_info",
            "Always 1; the labels tell which build and release this is.",
            ["version", "release", "revision"],
            registry=self.registry,
        ).labels(version, release, revision).set(1)

    def answered(self, method: str, route: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Counts a request; `trace_id` is that of a trace which is kept, and becomes the exemplar."""
        known = method if method in METHODS else "OTHER"
        series = self._series.get((known, route, status))
        if series is None:
            series = (self._requests.labels(known, route, str(status)), self._duration.labels(known, route))
            self._series[known, route, status] = series
        exemplar = {"trace_id": trace_id} if trace_id else None
        series[0].inc(1, exemplar)
        series[1].observe(seconds, exemplar)

    def cache_answered(self, name: str, result: CacheResult) -> None:
        self._cache.labels(name, result).inc()

    def rate_limited(self, route_class: str) -> None:
        self._rate_limited.labels(route_class).inc()

    def refused(self, reason: Refusal) -> None:
        self._refused.labels(reason).inc()

    def security_event(self, kind: str) -> None:
        self._security_events.labels(kind).inc()

    def rows_lost(self, table: str, count: int) -> None:
        self._rows_lost.labels(table).inc(count)

    def spans_exported(self, count: int, *, delivered: bool) -> None:
        self._spans.labels("delivered" if delivered else "lost").inc(count)

    def show_figures(self, figures: Figures) -> None:
        for name, value in asdict(figures).items():
            self._figures[name].set(value)
        self._figures_at.set(time.time())

    def show_pool(self, pool: Callable[[], WatchedPool]) -> None:
        """Has each exposition tell how the pool is then."""
        self.registry.register(_PoolCollector(pool))

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All figures and their media type: OpenMetrics, which has the exemplars, for those who take it."""
        if "application/openmetrics-text" in accept:
            return generate_openmetrics(self.registry), OPENMETRICS  # type: ignore[no-untyped-call]
        return generate_latest(self.registry), PLAIN_TEXT

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, registry=self.registry)

    def _unknown(self, name: str, documentation: str) -> Gauge:
        """A gauge that is not taken for a zero before it is set."""
        gauge = self._gauge(name, documentation)
        gauge.set(math.nan)
        return gauge


class _PoolCollector(Collector):
    def __init__(self, pool: Callable[[], WatchedPool]) -> None:
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        pool = self._pool()
        connections = GaugeMetricFamily(
            "inventory_database_connections", "Open connections to PostgreSQL.", labels=["state"]
        )
        connections.add_metric(["in_use"], pool.checkedout())
        connections.add_metric(["idle"], pool.checkedin())
        yield connections
        yield GaugeMetricFamily(
            "inventory_database_connections_limit", "Connections that this pod may have.", value=pool.limit
        )
        yield CounterMetricFamily(
            "inventory_database_connection_waits",
            "Times that a request found all connections in use and waited for one.",
            value=pool.waits,
        )
        yield CounterMetricFamily(
            "inventory_database_connection_timeouts",
            "Times that it waited in vain.",
            value=pool.timeouts,
        )
