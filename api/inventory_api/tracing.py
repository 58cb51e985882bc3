"""Traces, sent by OTLP over HTTP. Imported only where an endpoint is set, for it costs memory and time to start.

Requests have a middleware of their own instead of OpenTelemetry's: that one takes 80 µs or more of every request, also
of those whose trace is not kept, matches the route a second time, and sends what is in the query string.
"""

import asyncio
import logging
import random
import socket
import threading
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

import structlog
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    format_trace_id,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Receive, Scope, Send

from inventory_api.metrics import METHODS, Metrics
from inventory_api.middleware import PROBES
from inventory_api.settings import SERVICE_APPLICATION_NAME, ServiceSettings

log = structlog.get_logger()

_PATH = "/v1/traces"
_EXPORT_SECONDS = 5
_FLUSH_SECONDS = 3
_LONGEST_ATTRIBUTE = 2000
_PROPAGATED = (b"traceparent", b"tracestate")


class Tracing:
    """Spans of requests, and of their statements in PostgreSQL and commands in Redis."""

    def __init__(self, settings: ServiceSettings, engine: AsyncEngine, metrics: Metrics) -> None:
        assert settings.otlp_endpoint is not None  # noqa: S101 - or there is nothing to trace for
        self._ratio, self._parents = settings.trace_sample_ratio, settings.trace_parents
        exporter = OTLPSpanExporter(
            settings.otlp_endpoint.removesuffix("/").removesuffix(_PATH) + _PATH, timeout=_EXPORT_SECONDS
        )
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(settings.trace_sample_ratio),
            resource=_resource(settings),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_attribute_length=_LONGEST_ATTRIBUTE),
        )
        self._provider.add_span_processor(BatchSpanProcessor(WatchedExporter(exporter, metrics)))
        # What they have to say comes with every batch, and WatchedExporter says it once; or with every value that is
        # too long and cut short, as it is meant to be.
        for noisy in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal", "opentelemetry.attributes"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        # Before the instrumentation's own, which would send the server's words, and with them what is in the row.
        event.listen(engine.sync_engine, "handle_error", _end_failed_statement)
        SQLAlchemyInstrumentor().instrument(
            engine=engine.sync_engine, tracer_provider=self._provider, skip_dep_check=True
        )
        RedisInstrumentor().instrument(tracer_provider=self._provider, skip_dep_check=True)

    def of_requests(self, app: ASGIApp) -> "TracedRequests":
        return TracedRequests(app, self._provider, self._ratio, self._parents)

    async def close(self) -> None:
        """Sends what is left, for three seconds at most."""
        SQLAlchemyInstrumentor().uninstrument()
        RedisInstrumentor().uninstrument()
        # It may take half a minute when the collector is away, which no process that is told to end has.
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _FLUSH_SECONDS)


class TracedRequests:
    """A span around each request whose trace is kept: one that its parent keeps, or one in so many of all others."""

    def __init__(self, app: ASGIApp, provider: TracerProvider, ratio: float, parents: Sequence[str]) -> None:
        """`parents` are the networks of those who may decide; of the others, `ratio` is the share that is kept."""
        self._app = app
        self._ratio = ratio
        self._parents = [ip_network(network) for network in parents]
        self._may_decide = lru_cache(4096)(self._is_parent)
        self._tracer = provider.get_tracer(__name__)
        self._propagator = TraceContextTextMapPropagator()
        with suppress_instrumentation():
            self._unobserved = get_current()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["path"] in PROBES:
            return await self._unrecorded(scope, receive, send)
        parent = self._parent(scope)
        span = self._tracer.start_span(scope["method"], parent, SpanKind.SERVER)
        kept = span.is_recording()
        if kept or parent:
            state = scope.setdefault("state", {})
            state["trace_id"], state["trace_kept"] = format_trace_id(span.get_span_context().trace_id), kept
        if not kept:
            return await self._unrecorded(scope, receive, send)
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                await self._app(scope, receive, send)
            finally:
                _describe(span, scope)

    async def _unrecorded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Statements and commands would each find out anew that nobody keeps their trace."""
        token = attach(self._unobserved)
        try:
            await self._app(scope, receive, send)
        finally:
            detach(token)

    def _parent(self, scope: Scope) -> Context:
        given = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _PROPAGATED}
        if not given:
            return Context()
        context = self._propagator.extract(given, Context())
        if not get_current_span(context).get_span_context().is_valid:
            return Context()
        return context if self._is_decided(scope) else self._decide(context)

    def _is_decided(self, scope: Scope) -> bool:
        client = scope.get("client")
        return client is not None and self._may_decide(client[0])

    def _is_parent(self, client: str) -> bool:
        try:
            address = ip_address(client)
        except ValueError:
            return False
        # How a socket that listens for both families writes the address of an IPv4 client.
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._parents)

    def _decide(self, context: Context) -> Context:
        """By chance and not by the trace's id, which the caller has chosen."""
        given = get_current_span(context).get_span_context()
        kept = TraceFlags(TraceFlags.SAMPLED if random.random() < self._ratio else TraceFlags.DEFAULT)  # noqa: S311
        parent = SpanContext(given.trace_id, given.span_id, is_remote=True, trace_flags=kept)
        return set_span_in_context(NonRecordingSpan(parent), Context())


class WatchedExporter(SpanExporter):
    """Counts what is delivered, and says once that nothing is any more, and once that it is again."""

    def __init__(self, exporter: SpanExporter, metrics: Metrics) -> None:
        self._exporter = exporter
        self._metrics = metrics
        self._delivers = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        delivered = result is SpanExportResult.SUCCESS
        self._metrics.spans_exported(len(spans), delivered=delivered)
        if delivered and not self._delivers:
            log.info("traces are delivered again")
        elif self._delivers and not delivered:
            log.warning("traces are lost: the collector does not take them")
        self._delivers = delivered
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _describe(span: Span, scope: Scope) -> None:
    """What is known of a request once it is answered, in OpenTelemetry's terms; nothing of headers, query or body."""
    state = scope["state"]
    status, route = state.get("status", 0), state.get("route", "")
    known = scope["method"] in METHODS
    span.update_name(f"{scope['method'] if known else 'HTTP'} {route}")
    span.set_attributes(
        {
            "http.request.method": scope["method"] if known else "_OTHER",
            "http.response.status_code": status,
            "http.route": route,
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "inventory.request_id": state["request_id"],
        }
    )
    if "user_id" in state:
        span.set_attribute("user.id", str(state["user_id"]))
    if status >= 500:
        span.set_attribute("error.type", state.get("cause", str(status)))
        span.set_status(StatusCode.ERROR)


def _end_failed_statement(context: ExceptionContext) -> None:
    execution = context.execution_context
    span: Span | None = getattr(execution, "_otel_span", None)
    if execution is not None and span is not None:
        span.set_attribute("error.type", getattr(context.original_exception, "sqlstate", None) or "")
        span.set_status(Status(StatusCode.ERROR, type(context.original_exception).__name__))
        span.end()
        execution._otel_span = None  # type: ignore[attr-defined]  # the instrumentation then leaves it alone


def _resource(settings: ServiceSettings) -> Resource:
    """Who sends the spans; OTEL_RESOURCE_ATTRIBUTES adds to it what only the cluster knows, such as k8s.pod.name."""
    return Resource.create(
        {
            "service.name": SERVICE_APPLICATION_NAME,
            "service.version": settings.version,
            "service.instance.id": socket.gethostname(),
            "deployment.environment.name": settings.environment,
            "inventory.release": settings.release,
            "inventory.revision": settings.revision,
        }
    )
