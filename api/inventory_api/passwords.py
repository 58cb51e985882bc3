"""Password hashes: Argon2id, off the event loop, and never so many at once that memory or time runs out."""

from collections.abc import Iterator
from contextlib import contextmanager

from anyio import CapacityLimiter, to_thread
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from inventory_api.problems import unavailable

# OWASP's smallest figures for Argon2id; one hash holds this memory while it runs.
_MEMORY_KIB = 19_456
_ITERATIONS = 2
_AT_ONCE = 2
# A hash takes some 20 ms of a core: the last in the line waits for a second or two, which is what callers put up with.
PLACES_IN_LINE = 64


class Passwords:
    def __init__(self) -> None:
        self._hash = PasswordHash([Argon2Hasher(time_cost=_ITERATIONS, memory_cost=_MEMORY_KIB, parallelism=1)])
        self._limiter = CapacityLimiter(_AT_ONCE)
        self._in_line = 0
        self._nobodys: str | None = None

    @contextmanager
    def place_in_line(self) -> Iterator[None]:
        """Held around all that is done for one hash. Raises a 503 Problem when the line is as long as it may be."""
        if self._in_line >= PLACES_IN_LINE:
            raise unavailable("Too many passwords are being checked now. Send the request again.")
        self._in_line += 1
        try:
            yield
        finally:
            self._in_line -= 1

    async def hash(self, password: str) -> str:
        return await to_thread.run_sync(self._hash.hash, password, limiter=self._limiter)

    async def verify(self, password: str, known: str | None) -> bool:
        """Takes as long when there is nobody with a hash to compare with: absence must not show in time."""
        if self._nobodys is None:
            self._nobodys = await self.hash("nobody has this password")
        right = await to_thread.run_sync(self._hash.verify, password, known or self._nobodys, limiter=self._limiter)
        return right and known is not None
