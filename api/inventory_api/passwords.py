"""Password hashes: Argon2id, off the event loop, and never so many at once that memory runs out."""

from anyio import CapacityLimiter, to_thread
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

# OWASP's smallest figures for Argon2id; one hash holds this memory while it runs.
_MEMORY_KIB = 19_456
_ITERATIONS = 2
_AT_ONCE = 2


class Passwords:
    def __init__(self) -> None:
        self._hash = PasswordHash([Argon2Hasher(time_cost=_ITERATIONS, memory_cost=_MEMORY_KIB, parallelism=1)])
        self._limiter = CapacityLimiter(_AT_ONCE)
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        return await to_thread.run_sync(self._hash.hash, password, limiter=self._limiter)

    async def verify(self, password: str, known: str | None) -> bool:
        """Takes as long when there is nobody with a hash to compare with: absence must not show in time."""
        if self._nobodys is None:
            self._nobodys = await self.hash("nobody has this password")
        right = await to_thread.run_sync(self._hash.verify, password, known or self._nobodys, limiter=self._limiter)
        return right and known is not None
