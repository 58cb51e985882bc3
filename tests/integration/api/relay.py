"""A connection that breaks at the worst moment, or is slow, or silent."""

import asyncio
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

SOCKET = ".s.PGSQL.5432"
_CHUNK = 65_536

Connection = tuple[StreamReader, StreamWriter]


class Relay:
    """Stands between the service and a server of its own, PostgreSQL or Redis.

    On demand, the server's answer to a commit gets lost here, each of its answers is late, or none comes at all.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self.loses_commits = False
        self.late_by_seconds = 0.0
        self.answers = asyncio.Event()
        self.answers.set()
        self.folder = Path()
        self.port = 0
        self._serving: set[asyncio.Task[object]] = set()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        async with AsyncExitStack() as opened:
            opened.push_async_callback(_close, writer)
            from_server, to_server = await self._connect()
            opened.push_async_callback(_close, to_server)
            with suppress(ConnectionError):
                await asyncio.gather(self._pass_on(reader, to_server), self._pass_back(from_server, writer))

    async def end(self) -> None:
        """No connection is left open: whoever collects the garbage would blame another test for it."""
        for serving in (left := list(self._serving)):
            serving.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _pass_on(self, source: StreamReader, target: StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            if self.loses_commits and b"COMMIT\0" in data:
                break
            target.write(data)
        target.close()

    async def _pass_back(self, source: StreamReader, target: StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            await asyncio.sleep(self.late_by_seconds)
            await self.answers.wait()
            if self.loses_commits and b"COMMIT\0" in data:
                break
            target.write(data)
        target.close()


@asynccontextmanager
async def relay(server: Path) -> AsyncIterator[Relay]:
    """To the PostgreSQL whose socket is in that folder, by a socket in another."""
    # pytest's folders have longer names than a socket may have.
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        between = Relay(lambda: asyncio.open_unix_connection(server / SOCKET))
        between.folder = Path(folder)
        async with await asyncio.start_unix_server(between.serve, between.folder / SOCKET):
            try:
                yield between
            finally:
                await between.end()


@asynccontextmanager
async def redis_relay(url: str) -> AsyncIterator[Relay]:
    """To that Redis, by another port."""
    address = urlsplit(url)
    between = Relay(lambda: asyncio.open_connection(address.hostname, address.port))
    async with await asyncio.start_server(between.serve, "127.0.0.1", 0) as listener:
        between.port = listener.sockets[0].getsockname()[1]
        try:
            yield between
        finally:
            await between.end()


async def pass_on(source: StreamReader, target: StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        target.write(data)
    target.close()


async def _close(writer: StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
