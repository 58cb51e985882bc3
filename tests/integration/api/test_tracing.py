"""Traces, as a collector gets them from a service in a process of its own."""

import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from inventory_api.database import Database
from inventory_api.metrics import Metrics
from inventory_api.tracing import Tracing
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.integration.api.receivers import Collector, attributes, receiving
from tests.integration.api.services import EMAIL, PASSWORD, ServedProcess, served, settings_for
from tests.integration.conditions import eventually
from tests.integration.stores import SERVICE, Postgres

PARENT_SPAN = "00f067aa0ba902b7"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with receiving(Collector) as collector:
        yield collector


def traceparent(trace_id: str, *, kept: bool) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{PARENT_SPAN}-0{int(kept)}"}


class Caller:
    """Talks to a service that traces."""

    def __init__(self, service: ServedProcess, log: Path) -> None:
        self.service = service
        self._log = log
        self.http = httpx.Client(base_url=service.url, timeout=20)

    def sign_in(self, **headers: str) -> None:
        credentials = {"email": EMAIL, "password": PASSWORD}
        answer = self.http.post("/api/v1/auth/token", json=credentials, headers=headers)
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def line(self, path: str) -> dict[str, Any]:
        """Of the last request of this path."""
        return [line for line in self.lines() if line.get("path") == path][-1]


@pytest.fixture
def tracing(postgres: Postgres, database: str, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    stack = ExitStack()

    def serve(endpoint: str, parents: str = "127.0.0.0/8", **more: str) -> Caller:
        log = tmp_path / "log"
        context = served(
            postgres.url(database, SERVICE),
            log,
            INVENTORY_REDIS_URL=redis_url,
            INVENTORY_RELEASE="r1",
            INVENTORY_REVISION="7",
            INVENTORY_OTLP_ENDPOINT=endpoint,
            INVENTORY_TRACE_PARENTS=parents,
            OTEL_BSP_SCHEDULE_DELAY="50",
            **more,
        )
        caller = Caller(stack.enter_context(context), log)
        stack.enter_context(caller.http)
        return caller

    with stack:
        yield serve


def test_a_trace_is_the_same_in_the_span_the_log_line_and_the_exemplar(
    tracing: Callable[..., Caller], collector: Collector
) -> None:
    caller = tracing(
        collector.url, INVENTORY_TRACE_SAMPLE_RATIO="0", OTEL_RESOURCE_ATTRIBUTES="k8s.namespace.name=library"
    )
    caller.sign_in()
    trace_id = uuid.uuid4().hex
    caller.http.get("/api/v1/items/17?limit=hush", headers=traceparent(trace_id, kept=True))
    eventually(lambda: bool(collector.of_requests()))

    (span,) = collector.of_requests()
    line = caller.line("/api/v1/items/17")
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == (
        "GET /api/v1/items/{item_id}",
        trace_id,
        PARENT_SPAN,
    )
    assert line["trace_id"] == trace_id
    assert f'trace_id="{trace_id}"' in caller.http.get("/metrics", headers=OPENMETRICS).text
    assert attributes(span.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "http.route": "/api/v1/items/{item_id}",
        "inventory.request_id": line["request_id"],
        "url.path": "/api/v1/items/17",
        "url.scheme": "http",
        "user.id": str(line["user_id"]),
    }
    resource = collector.resource()
    assert (resource["service.name"], resource["inventory.release"], resource["inventory.revision"]) == (
        "inventory-api",
        "r1",
        "7",
    )
    assert resource["k8s.namespace.name"] == "library"
    assert resource["service.version"]
    assert b"hush" not in collector.everything()


def test_statements_and_commands_are_below_their_request_and_nothing_else_is(
    tracing: Callable[..., Caller], collector: Collector
) -> None:
    caller = tracing(collector.url, INVENTORY_TRACE_SAMPLE_RATIO="0")
    trace_id = uuid.uuid4().hex
    caller.sign_in(**traceparent(trace_id, kept=True))
    caller.service.terminate()
    assert caller.service.exit_code() == 0

    (request,) = collector.of_requests()
    below = collector.below(request)
    systems = {attributes(span.attributes).get("db.system") for span in below}
    statements = [attributes(span.attributes).get("db.statement", "") for span in below]
    assert systems == {"postgresql", "redis"}
    assert any("FROM users" in statement for statement in statements)
    assert len(collector.spans()) == 1 + len(below)
    assert not [span.name for span in collector.spans() if "send" in span.name or "receive" in span.name]
    for secret in (PASSWORD, EMAIL, "k" * 32):
        assert secret.encode() not in collector.everything()


def test_a_ratio_of_all_requests_is_kept_but_none_whose_caller_does_not_keep_it(
    tracing: Callable[..., Caller], collector: Collector
) -> None:
    caller = tracing(collector.url, INVENTORY_TRACE_SAMPLE_RATIO="1")
    unkept = uuid.uuid4().hex
    caller.http.get("/api/v1/items/1", headers=traceparent(unkept, kept=False))
    caller.http.get("/api/v1/items/2")
    for probe in ("/livez", "/readyz", "/metrics"):
        caller.http.get(probe, headers=traceparent(uuid.uuid4().hex, kept=True))
    figures = caller.http.get("/metrics", headers=OPENMETRICS).text
    caller.service.terminate()
    assert caller.service.exit_code() == 0

    (span,) = collector.of_requests()
    assert attributes(span.attributes)["url.path"] == "/api/v1/items/2"
    assert caller.line("/api/v1/items/2")["trace_id"] == span.trace_id.hex()
    assert caller.line("/api/v1/items/1")["trace_id"] == unkept
    assert unkept not in {span.trace_id.hex() for span in collector.spans()}
    assert unkept not in figures


@pytest.mark.parametrize("parents", ["", "10.0.0.0/8,::1"], ids=["nobody", "others"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_stranger_decides_nothing_of_what_is_kept(
    tracing: Callable[..., Caller], collector: Collector, is_kept: bool, parents: str
) -> None:
    caller = tracing(collector.url, parents, INVENTORY_TRACE_SAMPLE_RATIO=str(int(is_kept)))
    # A sampler that goes by the id would keep the first one at any ratio, and the last one at none.
    trace_ids = ["1" + "0" * 31, uuid.uuid4().hex, "f" * 32]
    for trace_id in trace_ids:
        caller.http.get("/api/v1/items/1", headers=traceparent(trace_id, kept=not is_kept))
    caller.http.get("/api/v1/items/1", headers={"traceparent": "00-nonsense-01"})
    # What is nowhere to be found is no example of anything. (Of requests that took the same time the last one is it.)
    figures = caller.http.get("/metrics", headers=OPENMETRICS).text
    assert ('trace_id="' in figures) == is_kept
    caller.service.terminate()
    assert caller.service.exit_code() == 0

    found = [span.trace_id.hex() for span in collector.of_requests()]
    assert (found[:3], len(found)) == ((trace_ids, 4) if is_kept else ([], 0))


def test_most_requests_are_not_traced_unless_told(tracing: Callable[..., Caller], collector: Collector) -> None:
    caller = tracing(collector.url)
    for number in range(50):
        caller.http.get(f"/api/v1/items/{number + 1}")
    caller.service.terminate()
    assert caller.service.exit_code() == 0

    assert len(collector.of_requests()) < 10


@pytest.mark.parametrize("is_there", [True, False], ids=["silent", "gone"])
def test_a_collector_that_does_not_answer_costs_no_request_anything(
    tracing: Callable[..., Caller], is_there: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if not is_there:
            listener.close()
        caller = tracing(endpoint, INVENTORY_TRACE_SAMPLE_RATIO="1", OTEL_BSP_MAX_QUEUE_SIZE="600")
        caller.sign_in()
        seconds, answers = [], []
        for _ in range(200):
            started = time.perf_counter()
            answers.append(caller.http.get("/api/v1/items?limit=1").status_code)
            seconds.append(time.perf_counter() - started)
        told = time.perf_counter()
        caller.service.terminate()
        code = caller.service.exit_code()

        assert (set(answers), code) == ({200}, 0)
        assert sorted(seconds)[100] < 0.1
        assert time.perf_counter() - told < 6
        warnings = [line for line in caller.lines() if line["level"] != "info"]
        assert [line["event"] for line in warnings] in ([], ["traces are lost: the collector does not take them"])


async def test_a_failed_statement_is_marked_without_what_the_server_says_of_the_row(
    postgres: Postgres, database: str, collector: Collector
) -> None:
    settings = settings_for(
        postgres.url(database, SERVICE), otlp_endpoint=f"{collector.url}/v1/traces", trace_sample_ratio=1
    )
    store = Database(settings)
    tracing = Tracing(settings, store.engine, Metrics("1", "r1", "7"))
    async with store.transaction() as session:
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT CAST(CAST(:given AS text) AS integer)"), {"given": "hush"})
    await store.close()
    await tracing.close()

    (failed,) = [span for span in collector.spans() if span.status.code == Status.STATUS_CODE_ERROR]
    assert attributes(failed.attributes)["error.type"] == "22P02"
    assert failed.kind == Span.SPAN_KIND_CLIENT
    assert b"hush" not in collector.everything()
