"""Where a service sends what it has to tell: a collector of traces, and a Sentry."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver:
    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[tuple[str, bytes]] = []
        """Path and body of each request."""

    def everything(self) -> bytes:
        return b"".join(body for _, body in self.received)


class Collector(Receiver):
    def spans(self) -> list[Span]:
        """Each once: a batch whose answer was late is sent again."""
        found = [span for batch in self._batches() for scope in batch.scope_spans for span in scope.spans]
        return list({span.span_id: span for span in found}.values())

    def resource(self) -> dict[str, Any]:
        return attributes(next(iter(self._batches())).resource.attributes)

    def of_requests(self) -> list[Span]:
        return [span for span in self.spans() if span.kind == Span.SPAN_KIND_SERVER]

    def below(self, parent: Span) -> list[Span]:
        return [span for span in self.spans() if span.parent_span_id == parent.span_id]

    def _batches(self) -> Iterator[Any]:
        for path, body in self.received:
            assert path == "/v1/traces"
            yield from ExportTraceServiceRequest.FromString(body).resource_spans


class Sentry(Receiver):
    @property
    def dsn(self) -> str:
        return self.url.replace("//", "//key@") + "/1"

    def events(self) -> list[dict[str, Any]]:
        return [event for _, body in self.received for event in events_of(body)]


def events_of(envelope: bytes) -> Iterator[dict[str, Any]]:
    """https://develop.sentry.dev/sdk/envelopes/: a line of headers; and for each item one more, and its body."""
    lines = iter(envelope.split(b"\n")[1:])
    for line in lines:
        if line and json.loads(line)["type"] == "event":
            yield json.loads(next(lines))


def attributes(found: Any) -> dict[str, Any]:
    def value(each: KeyValue) -> Any:
        return getattr(each.value, each.value.WhichOneof("value") or "string_value")

    return {each.key: value(each) for each in found}


@contextmanager
def receiving(kind: type[Receiver]) -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            compressed = self.headers["Content-Encoding"] == "gzip"
            receiver.received.append((self.path, gzip.decompress(body) if compressed else body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = kind(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield receiver
        server.shutdown()
