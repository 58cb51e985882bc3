"""Files that go in and out, and what is there then."""

import json
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

from tests.integration.api.services import Api


async def send_file(
    api: Api, kind: str, content: bytes | str | AsyncIterator[bytes], *, key: str | None = None, **query: Any
) -> httpx.Response:
    """Imports a file, of CSV unless told otherwise. Without a key, one of its own."""
    parameters = {"kind": kind, "format": "csv", **query}
    return await api.http.post(
        "/api/v1/import",
        params={name: str(value).lower() if isinstance(value, bool) else value for name, value in parameters.items()},
        content=content,
        headers={"Idempotency-Key": key or uuid.uuid4().hex, "Content-Type": "text/csv"},
    )


async def imported(api: Api, kind: str, content: bytes | str, **query: Any) -> dict[str, Any]:
    answer = await send_file(api, kind, content, **query)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


async def exported(api: Api, kind: str, form: str = "csv", **query: Any) -> str:
    answer = await api.get("/api/v1/export", params={"kind": kind, "format": form, **query})
    assert answer.status_code == 200, answer.text
    return answer.text


async def exported_rows(api: Api, kind: str, **query: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await exported(api, kind, "jsonl", **query)).splitlines()]


def errors_of(answer: httpx.Response) -> list[tuple[int, str]]:
    """Line and field of each error."""
    return [(error["line"], error["field"]) for error in answer.json()["errors"]]


def csv(header: str, *rows: Sequence[Any] | str) -> str:
    lines = [row if isinstance(row, str) else ",".join(map(str, row)) for row in rows]
    return "\n".join([header, *lines, ""])


async def stock_of(api: Api, sku: str) -> dict[str, int]:
    return {
        level["location"]: level["on_hand"] for level in await exported_rows(api, "stock-levels") if level["sku"] == sku
    }
