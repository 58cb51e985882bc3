"""What the service is compared with: the same queries by asyncpg alone, in a bare ASGI application and a bare FastAPI.

Run as `uvicorn tests.benchmarks.api.baselines:bare_asgi` (or `bare_fastapi`), with BASELINE_DATABASE_URL set. The
answers have every field that the service's have, JSON columns as JSON; `bare_asgi` writes them with a fast writer.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI
from pydantic_core import from_json, to_json

ONE = """
    SELECT items.*, quantity - on_loan - reserved AS available,
        (SELECT json_agg(json_build_object('location_id', location_id, 'on_hand', on_hand, 'on_loan', on_loan,
            'reserved', reserved, 'available', on_hand - reserved) ORDER BY location_id)
        FROM stock_levels WHERE item_id = items.id AND on_hand + on_loan > 0) AS stock,
        (SELECT json_agg(json_build_object('item_id', item_id, 'quantity', quantity) ORDER BY item_id)
        FROM kit_parts WHERE kit_id = items.id) AS parts
    FROM items WHERE id = $1
"""
MANY = """
    SELECT *, quantity - on_loan - reserved AS available
    FROM items WHERE archived_at IS NULL ORDER BY id LIMIT 51
"""
_CONNECTIONS = 8

_pool: Any = None


async def _open() -> None:
    global _pool
    _pool = await asyncpg.create_pool(
        os.environ["BASELINE_DATABASE_URL"], min_size=_CONNECTIONS, max_size=_CONNECTIONS, init=_read_json
    )


async def _read_json(connection: Any) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=json.dumps, decoder=from_json)


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    """GET /items/{id} and GET /items; no framework, no middleware, nobody signed in."""
    if scope["type"] == "lifespan":
        await receive()
        await _open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    last = scope["path"].rpartition("/")[2]
    body = to_json(await (_one(int(last)) if last.isdigit() else _many()))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def _one(item_id: int) -> dict[str, Any]:
    return dict(await _pool.fetchrow(ONE, item_id))


async def _many() -> list[dict[str, Any]]:
    return [dict(row) for row in (await _pool.fetch(MANY))[:50]]


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    await _open()
    yield


bare_fastapi = FastAPI(lifespan=_lifespan)


@bare_fastapi.get("/items/{item_id}")
async def get_item(item_id: int) -> dict[str, Any]:
    return await _one(item_id)


@bare_fastapi.get("/items")
async def list_items() -> list[dict[str, Any]]:
    return await _many()


_redis: Any = None


async def bare_cache(scope: Any, receive: Any, send: Any) -> None:
    """Whatever is asked for: what Redis has under one key, as it is there."""
    global _redis
    if scope["type"] == "lifespan":
        from redis.asyncio import Redis

        await receive()
        _redis = Redis.from_url(os.environ["BASELINE_REDIS_URL"])
        await _redis.set("baseline", os.environ["BASELINE_CACHED"])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = await _redis.get("baseline")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
