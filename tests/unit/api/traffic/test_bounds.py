"""What a request and an answer may be and have, seen at each middleware alone."""

import gzip
import zlib

import pytest
from inventory_api.metrics import Metrics
from inventory_api.middleware import BodyLimit, RequestRecord
from inventory_api.traffic.compression import Compression
from inventory_api.traffic.routes import RouteClass, route_class
from inventory_api.traffic.trusted_hosts import TrustedHosts
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .asgi import answering, request

GZIP = [("Accept-Encoding", "br, gzip")]


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/", RouteClass.READ),
        ("HEAD", "/api/v1/items", RouteClass.READ),
        ("GET", "/api/v1/items/1", RouteClass.READ),
        ("POST", "/api/v1/items", RouteClass.WRITE),
        ("BREW", "/nothing", RouteClass.WRITE),
        ("POST", "/api/v1/auth/token", RouteClass.SIGN_IN),
        ("GET", "/api/v1/reports/overdue", RouteClass.REPORT),
        ("GET", "/api/v1/export", RouteClass.EXPORT),
        ("GET", "/api/v1/exports", RouteClass.READ),
        ("POST", "/api/v1/import", RouteClass.IMPORT),
        ("POST", "/api/v1/important", RouteClass.WRITE),
        ("GET", "/api/v1/items/auth", RouteClass.READ),
    ],
)
def test_a_request_is_of_one_kind_by_its_first_name(method: str, path: str, kind: RouteClass) -> None:
    assert route_class(method, path) is kind


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    more: Message = {"more_body": True}
    while more.get("more_body"):
        more = await receive()
    await answering(b"")(scope, receive, send)


@pytest.mark.parametrize(
    ("path", "size", "fits"),
    [
        ("/api/v1/items", 10, True),
        ("/api/v1/items", 11, False),
        ("/api/v1/import", 100, True),
        ("/api/v1/import", 101, False),
    ],
)
async def test_an_import_may_be_larger_than_other_bodies(path: str, size: int, fits: bool) -> None:
    app = BodyLimit(read_all, limit=10, larger={RouteClass.IMPORT: 100})
    body = [b"x" * 5] * (size // 5) + [b"x"] * (size % 5)
    if fits:
        assert (await request(app, path, "POST", body=body)).status == 200
    else:
        with pytest.raises(HTTPException) as refusal:
            await request(app, path, "POST", body=body)
        assert refusal.value.status_code == 413


async def test_a_large_answer_is_compressed_for_who_takes_it() -> None:
    content = b'{"name": "Drill"}' * 100

    answer = await request(Compression(answering(content)), headers=GZIP)
    plain = await request(Compression(answering(content)))

    assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(answer.body) == content
    assert len(answer.body) == int(answer.headers["content-length"]) < len(content) / 5
    assert (plain.body, "content-encoding" in plain.headers) == (content, False)


@pytest.mark.parametrize("path", ["/api/v1/auth/token", "/api/v1/auth/refresh"])
async def test_what_holds_a_token_is_never_compressed(path: str) -> None:
    content = b"x" * 10_000

    answer = await request(Compression(answering(content)), path, "POST", headers=GZIP)

    assert answer.body == content


async def test_a_small_answer_is_left_as_it_is() -> None:
    assert (await request(Compression(answering(b"x" * 1000)), headers=GZIP)).body == b"x" * 1000


async def test_each_part_of_a_stream_can_be_read_as_soon_as_it_has_come() -> None:
    parts = [b"first," * 100, b"second," * 100, b"third"]

    answer = await request(Compression(answering(*parts, media_type="text/csv")), "/api/v1/export", headers=GZIP)

    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert [stream.decompress(chunk) for chunk in answer.chunks] == parts


async def host_status(host: str | None, path: str = "/api/v1/items") -> int:
    metrics = Metrics("1", "r1", "7")
    app = TrustedHosts(answering(b""), ["inventory.example.com", "*.tools.example.com", "[::1]"], metrics)
    return (await request(app, path, headers=[("Host", host)] if host is not None else [])).status


@pytest.mark.parametrize(
    "host",
    [
        "inventory.example.com",
        "Inventory.Example.com:8000",
        "a.tools.example.com",
        "b.a.tools.example.com:443",
        "[::1]:80",
    ],
)
async def test_a_host_that_is_allowed_is_answered_to_whatever_its_case_and_port(host: str) -> None:
    assert await host_status(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "example.com",
        "tools.example.com",
        "eviltools.example.com",
        "inventory.example.com.evil.example",
        "inventory.example.com@evil.example",
        "inventory.example.com:80:80",
        "10.0.0.1",
    ],
)
async def test_another_host_is_refused_but_not_a_probe_or_a_scrape(host: str | None) -> None:
    assert await host_status(host) == 400
    assert [await host_status(host, path) for path in ("/livez", "/readyz", "/metrics")] == [200] * 3


def recorded(app: ASGIApp) -> RequestRecord:
    return RequestRecord(app, Metrics("1", "r1", "7"), release="r1")


async def test_a_page_may_say_what_it_needs_instead() -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-security-policy", b"script-src 'self'"), (b"cache-control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    answer = await request(recorded(page))

    assert answer.headers["content-security-policy"] == "script-src 'self'"
    assert answer.headers["cache-control"] == "max-age=60"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_only_what_came_by_https_promises_it() -> None:
    by_http = await request(recorded(answering(b"")))
    by_https = await request(recorded(answering(b"")), scheme="https")

    assert "strict-transport-security" not in by_http.headers
    assert by_https.headers["strict-transport-security"] == "max-age=31536000"
