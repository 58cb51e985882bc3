"""A connection that breaks at the worst moment."""

import asyncio
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

SOCKET = ".s.PGSQL.5432"
_CHUNK = 65_536


class Relay:
    """Stands between the service and PostgreSQL. On demand, the server's answer to a commit gets lost here."""

    def __init__(self, server: Path, folder: Path) -> None:
        self._server = server
        self.folder = folder
        self.loses_commits = False

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._server / SOCKET)
        await asyncio.gather(self._pass_on(reader, to_server), self._pass_on(from_server, writer))

    async def _pass_on(self, source: StreamReader, target: StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            if self.loses_commits and b"COMMIT\0" in data:
                break
            target.write(data)
        target.close()


@asynccontextmanager
async def relay(server: Path) -> AsyncIterator[Relay]:
    # pytest's folders have longer names than a socket may have.
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        between = Relay(server, Path(folder))
        async with await asyncio.start_unix_server(between.serve, between.folder / SOCKET):
            yield between
