"""Slows down guessing at a password. Kept in Redis, so that all pods count together; without it nothing is counted."""

import hashlib

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger()

_FAILURES = 20
_WINDOW_SECONDS = 300
_PATIENCE_SECONDS = 0.25


class SignInThrottle:
    def __init__(self, url: str | None) -> None:
        self._redis: Redis | None = (
            Redis.from_url(url, socket_timeout=_PATIENCE_SECONDS, socket_connect_timeout=_PATIENCE_SECONDS)
            if url
            else None
        )

    async def is_closed(self, email: str) -> bool:
        """Whether too many attempts for this address failed lately, whether or not it has an account."""
        if self._redis is None:
            return False
        try:
            return int(await self._redis.get(_key(email)) or 0) >= _FAILURES
        except (RedisError, OSError) as error:
            log.warning("sign-in attempts are not limited while Redis is away", error=type(error).__name__)
            return False

    async def count_failure(self, email: str) -> None:
        if self._redis is None:
            return
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.incr(_key(email))
                pipeline.expire(_key(email), _WINDOW_SECONDS, nx=True)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            log.warning("a failed sign-in was not counted", error=type(error).__name__)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()


def _key(email: str) -> str:
    return f"inventory:sign-in-failures:{hashlib.sha256(email.encode()).hexdigest()}"
