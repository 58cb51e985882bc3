"""Whatever an application does with a request: one line, one count, and an answer."""

import asyncio
import logging
import re
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from typing import Any

import pytest
import structlog
from inventory_api.metrics import Metrics
from inventory_api.middleware import RequestRecord
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

Line = MutableMapping[str, Any]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"done"}


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with capture_logs() as lines:
        yield lines
    structlog.configure(**before)


async def answers(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)
    await send(BODY)


async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ValueError("as nobody expected")


async def fails_half_way(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)
    raise ValueError("as nobody expected")


async def is_cancelled(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise asyncio.CancelledError


async def answers_nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    return


class Calls:
    def __init__(self, app: ASGIApp) -> None:
        self.metrics = Metrics("1.0", "r1", "7")
        self._app = RequestRecord(app, self.metrics, release="r1")
        self.sent: list[Message] = []

    async def get(self, path: str = "/api/v1/items/17", **headers: str) -> None:
        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        scope: Scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": ("192.0.2.1", 1234),
        }
        with suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)

    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    def counted(self) -> dict[str, float]:
        """How many requests by status."""
        text = self.metrics.exposition()[0].decode()
        return {status: float(count) for status, count in re.findall(r'http_requests_total{.*"(\d+)"} (.+)', text)}


@pytest.mark.parametrize(
    ("app", "status", "level"),
    [
        (answers, 200, "info"),
        (fails, 500, "error"),
        (fails_half_way, 200, "error"),
        (is_cancelled, 499, "info"),
        (answers_nothing, 499, "info"),
    ],
)
async def test_one_line_and_one_count_whatever_comes_of_a_request(
    app: ASGIApp, status: int, level: str, lines: list[Line]
) -> None:
    calls = Calls(app)

    await calls.get()

    (line,) = lines
    assert (line["event"], line["status"], line["log_level"]) == ("request", status, level)
    assert (line["method"], line["path"], line["client"]) == ("GET", "/api/v1/items/17", "192.0.2.1")
    assert calls.counted() == {str(status): 1}
    assert "http_requests_in_progress 0.0" in calls.metrics.exposition()[0].decode()


async def test_what_fails_unexpectedly_is_answered_without_a_word_of_why(lines: list[Line]) -> None:
    calls = Calls(fails)

    await calls.get()

    assert calls.sent[0]["status"] == 500
    assert b"internal-error" in calls.sent[1]["body"]
    assert b"as nobody expected" not in calls.sent[1]["body"]
    assert isinstance(lines[0]["exc_info"], ValueError)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_are_counted_and_not_logged(path: str, lines: list[Line]) -> None:
    calls = Calls(answers)

    await calls.get(path)

    assert lines == []
    assert calls.counted() == {"200": 1}


async def test_a_long_path_does_not_fill_the_log(lines: list[Line]) -> None:
    await Calls(answers).get("/" + "x" * 60_000)

    assert len(lines[0]["path"]) == 200


@pytest.mark.parametrize("given", ["mine-1", "A.b_c~d-9"])
async def test_a_request_id_of_the_caller_is_kept(given: str) -> None:
    calls = Calls(answers)

    await calls.get(x_request_id=given)

    assert calls.headers().items() >= {"x-request-id": given, "x-inventory-release": "r1"}.items()


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\xe9", 'a"}'])
async def test_a_request_id_that_is_none_is_replaced(given: str) -> None:
    calls = Calls(answers)

    await calls.get(x_request_id=given)

    assert re.fullmatch("[0-9a-f]{32}", calls.headers()["x-request-id"])


@pytest.mark.parametrize(("flags", "kept"), [("01", True), ("03", True), ("00", False), ("02", False)])
async def test_the_trace_of_a_request_that_is_kept_elsewhere_is_its_exemplar(flags: str, kept: bool) -> None:
    calls = Calls(answers)

    await calls.get(traceparent=f"00-{TRACE}-00f067aa0ba902b7-{flags}")

    figures = calls.metrics.exposition("application/openmetrics-text; version=1.0.0")[0].decode()
    assert (f'# {{trace_id="{TRACE}"}}' in figures) is kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        f"00-{TRACE}",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-x-01\xe9",
    ],
)
async def test_a_traceparent_that_is_none_harms_nothing(given: str, lines: list[Line]) -> None:
    calls = Calls(answers)

    await calls.get(traceparent=given)

    assert calls.counted() == {"200": 1}
    assert "trace_id" not in calls.metrics.exposition("application/openmetrics-text")[0].decode()
