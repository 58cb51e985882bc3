"""Slows down guessing at a password. Kept in Redis, so that all pods count together; without it nothing is counted."""

import hashlib

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

log = structlog.get_logger()

_ATTEMPTS = 20
_WINDOW_SECONDS = 300
_PATIENCE_SECONDS = 0.25
_CONNECTIONS = 20


class SignInThrottle:
    def __init__(self, url: str | None) -> None:
        self.redis = _client(url) if url else None

    async def admit(self, email: str) -> bool:
        """Whether one more attempt for this address may be made, whether or not it has an account.

        The attempt is counted before it is made: attempts at once would all find the count of before.
        """
        if self.redis is None:
            return True
        try:
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.incr(_key(email))
                pipeline.expire(_key(email), _WINDOW_SECONDS, nx=True)
                attempts, _ = await pipeline.execute()
        except (RedisError, OSError) as error:
            log.warning("sign-in attempts are not limited while Redis is away", error=type(error).__name__)
            return True
        return int(attempts) <= _ATTEMPTS

    async def forget(self, email: str) -> None:
        """Starts anew for an address whose owner has shown to know the password."""
        if self.redis is None:
            return
        try:
            await self.redis.delete(_key(email))
        except (RedisError, OSError) as error:
            log.warning("a sign-in still counts as an attempt", error=type(error).__name__)

    async def close(self) -> None:
        if self.redis is not None:
            await self.redis.aclose()


def _client(url: str) -> Redis:
    """Whoever finds all connections in use waits for one, or a burst of guesses would be taken for a Redis away."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=None,
        socket_timeout=_PATIENCE_SECONDS,
        socket_connect_timeout=_PATIENCE_SECONDS,
    )
    return Redis.from_pool(pool)


def _key(email: str) -> str:
    return f"inventory:sign-in-attempts:{hashlib.sha256(email.encode()).hexdigest()}"
