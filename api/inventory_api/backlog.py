"""Rows that are written a moment later, beside the request: few enough at a time for memory and database to bear."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Generic, TypeVar

import structlog

from inventory_api.database import is_passing

log = structlog.get_logger()

_AT_ONCE = 100
_PAUSE_SECONDS = 0.5
_LAST_SECONDS = 5.0
Row = TypeVar("Row")


class Backlog(Generic[Row]):
    """Writes what is added, 100 rows at a time with half a second between, which no flood makes more.

    While the database is away the rows wait. A row may be written twice if the connection is lost at the commit.
    """

    def __init__(
        self, what: str, write: Callable[[Sequence[Row]], Awaitable[None]], lost: Callable[[int], None], limit: int
    ) -> None:
        self._what = what
        self._write = write
        self._lost = lost
        self._limit = limit
        self._rows: deque[Row] = deque()
        self._news = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, row: Row) -> None:
        """Never waits: what finds the backlog full is lost, and counted."""
        if len(self._rows) >= self._limit:
            self._lost(1)
            return
        self._rows.append(row)
        self._news.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_writing())

    async def close(self) -> None:
        """Writes what there is, for five seconds at most."""
        self._closing.set()
        self._news.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_LAST_SECONDS)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._rows:
            self._give_up(len(self._rows))

    async def _keep_writing(self) -> None:
        while not (self._closing.is_set() and not self._rows):
            await self._news.wait()
            self._news.clear()
            while self._rows:
                await self._write_some()
                await self._pause()

    async def _write_some(self) -> None:
        rows = list(islice(self._rows, _AT_ONCE))
        try:
            await self._write(rows)
        except Exception as error:
            if not is_passing(error):
                log.exception("rows cannot be written", what=self._what)
            elif not self._closing.is_set():
                log.warning("rows wait for the database", what=self._what, waiting=len(self._rows))
                return
            self._lost(len(rows))
        for _ in rows:
            self._rows.popleft()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), _PAUSE_SECONDS)

    def _give_up(self, count: int) -> None:
        log.warning("rows were not written before the end", what=self._what, lost=count)
        self._lost(count)
        self._rows.clear()
