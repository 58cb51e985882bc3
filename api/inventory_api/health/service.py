import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from redis.asyncio import Redis

from inventory_api.database import Database
from inventory_api.fields import Output
from inventory_api.health import repository
from inventory_api.health.schemas import (
    ContractHistory,
    DatabaseHealth,
    Health,
    History,
    Pool,
    RedisHealth,
    SchemaHealth,
    VolumesHealth,
)
from inventory_api.health.volumes import writable_volumes
from inventory_api.migrations.rule import ImageSchema, abbreviated, objections
from inventory_api.readiness import read_schema
from inventory_api.resources import Resources
from inventory_api.users.permissions import Permission, Principal, demand

log = structlog.get_logger()
Part = TypeVar("Part", bound=Output)
Found = TypeVar("Found")

_PATIENCE_SECONDS = 2.0
_FULL = 1 / 20
# A file system that does not answer holds one thread, however often somebody asks.
_one_look = CapacityLimiter(1)


async def check(resources: Resources, caller: Principal) -> Health:
    """How each part is now, known after two seconds at the latest. What a part says of its errors stays in the log."""
    demand(caller, Permission.SEE_HEALTH)
    settings = resources.settings
    database, schema, redis, volumes = await asyncio.gather(
        of_database(resources.database),
        of_schema(resources.database, resources.readiness.image),
        of_redis(resources.rates.redis),
        of_volumes(),
    )
    well = all(part.status in ("ok", "not configured") for part in (database, schema, redis, volumes))
    return Health(
        status="ok" if well else "degraded",
        version=settings.version,
        release=settings.release,
        revision=settings.revision,
        environment=settings.environment,
        uptime_seconds=int(time.monotonic() - resources.started),
        database=database,
        schema_=schema,
        redis=redis,
        volumes=volumes,
    )


async def of_database(database: Database) -> DatabaseHealth:
    pool = database.pool
    seen = Pool(limit=pool.limit, in_use=pool.checkedout(), idle=pool.checkedin())

    async def look() -> DatabaseHealth:
        async with database.transaction() as session:
            await session.connection()
            version, latency = await _timed(repository.server_version(session))
        return DatabaseHealth(status="ok", latency_ms=latency, server_version=version, pool=seen)

    return await _or_else(DatabaseHealth(status="away", pool=seen), look)


async def of_schema(database: Database, image: ImageSchema) -> SchemaHealth:
    async def look() -> SchemaHealth:
        async with database.transaction() as session:
            found = await read_schema(session)
        reasons = objections(image, found)
        return SchemaHealth(
            status="incompatible" if reasons else "ok",
            objections=list(reasons),
            expand=History(image=abbreviated(image.expand), schema_=abbreviated(found.expand)),
            contract=ContractHistory(
                image=abbreviated(image.contract),
                schema_=abbreviated(found.contract),
                required=abbreviated(image.required_contract),
            ),
        )

    return await _or_else(SchemaHealth(status="unknown"), look)


async def of_redis(redis: Redis | None) -> RedisHealth:
    if redis is None:
        return RedisHealth(status="not configured")

    async def look() -> RedisHealth:
        _, latency = await _timed(redis.ping())
        return RedisHealth(status="ok", latency_ms=latency)

    return await _or_else(RedisHealth(status="away"), look)


async def of_volumes() -> VolumesHealth:
    async def look() -> VolumesHealth:
        volumes = await to_thread.run_sync(writable_volumes, abandon_on_cancel=True, limiter=_one_look)
        full = any(volume.free_bytes < volume.total_bytes * _FULL for volume in volumes)
        return VolumesHealth(status="full" if full else "ok", writable=volumes)

    return await _or_else(VolumesHealth(status="unknown"), look)


async def _or_else(otherwise: Part, look: Callable[[], Awaitable[Part]]) -> Part:
    """What the look finds, or else the other if it fails or takes too long."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await look()
    except Exception as error:
        log.warning("a part is not well", part=type(otherwise).__name__, error=type(error).__name__)
        return otherwise


async def _timed(work: Awaitable[Found]) -> tuple[Found, float]:
    started = time.perf_counter()
    found = await work
    return found, round((time.perf_counter() - started) * 1000, 2)
