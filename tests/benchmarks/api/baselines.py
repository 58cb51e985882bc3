"""What the service is compared with: the same queries by asyncpg alone, in a bare ASGI application and a bare FastAPI.

Run as `uvicorn tests.benchmarks.api.baselines:bare_asgi` (or `bare_fastapi`), with BASELINE_DATABASE_URL set.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI

ONE = "SELECT * FROM items WHERE id = $1"
MANY = "SELECT * FROM items WHERE id > $1 ORDER BY id LIMIT 51"
_CONNECTIONS = 8

_pool: Any = None


async def _open() -> None:
    global _pool
    _pool = await asyncpg.create_pool(os.environ["BASELINE_DATABASE_URL"], min_size=_CONNECTIONS, max_size=_CONNECTIONS)


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
    if last.isdigit():
        body = _json(dict(await _pool.fetchrow(ONE, int(last))))
    else:
        body = _json([dict(row) for row in await _pool.fetch(MANY, 0)])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def _json(value: Any) -> bytes:
    return json.dumps(value, default=str).encode()


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    await _open()
    yield


bare_fastapi = FastAPI(lifespan=_lifespan)


@bare_fastapi.get("/items/{item_id}")
async def get_item(item_id: int) -> dict[str, Any]:
    return dict(await _pool.fetchrow(ONE, item_id))


@bare_fastapi.get("/items")
async def list_items() -> list[dict[str, Any]]:
    return [dict(row) for row in await _pool.fetch(MANY, 0)]


_redis: Any = None


async def bare_cache(scope: Any, receive: Any, send: Any) -> None:
    """Whatever is asked for: what Redis has under one key, as it is there."""
    global _redis
    if scope["type"] == "lifespan":
        from redis.asyncio import Redis

        await receive()
        _redis = Redis.from_url(os.environ["BASELINE_REDIS_URL"])
        await _redis.set("baseline", _json({"items": 10_000, "units": 0, "owned": 30_000, "on_hand": 29_000}))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = await _redis.get("baseline")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
