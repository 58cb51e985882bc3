"""The pool of connections, and how often it was too small."""

from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection


class WatchedPool(AsyncAdaptedQueuePool):
    """Counts who had to wait for a connection, and who waited in vain."""

    def __init__(self, creator: Any, *, max_overflow: int = 0, **more: Any) -> None:
        super().__init__(creator, max_overflow=max_overflow, **more)
        self.limit = self.size() + max_overflow
        self.waits = 0
        self.timeouts = 0

    def connect(self) -> PoolProxiedConnection:
        if self.checkedout() >= self.limit:
            self.waits += 1
        try:
            return super().connect()
        except PoolTimeoutError:
            self.timeouts += 1
            raise
