"""What Prometheus sees. Labels are bounded: routes by their template, methods from a list."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    def __init__(self, version: str, release: str, revision: str) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = Counter(
            "http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._in_progress = Gauge("http_requests_in_progress", "Requests being answered now.", registry=self.registry)
        self.ready = Gauge(
            "inventory_ready", "1 once the schema is one that this release runs on.", registry=self.registry
        )
        Gauge(
            "inventory_build_info",
            "Always 1; the labels tell which build and release this is.",
            ["version", "release", "revision"],
            registry=self.registry,
        ).labels(version, release, revision).set(1)

    @contextmanager
    def in_progress(self) -> Iterator[None]:
        with self._in_progress.track_inprogress():
            yield

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in _METHODS else "OTHER"
        self._requests.labels(known, route, str(status)).inc()
        self._duration.labels(known, route).observe(seconds)

    def exposition(self) -> bytes:
        return generate_latest(self.registry)
