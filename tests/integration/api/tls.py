"""TLS in front of a PostgreSQL that is built without it."""

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.certificates import Authority
from tests.integration.api.relay import SOCKET, pass_on

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@asynccontextmanager
async def tls_in_front_of(server: Path, authority: Authority, *, asks_for_certificate: bool) -> AsyncIterator[int]:
    """Its port on localhost. The server's socket is in that folder."""
    pair = authority.issue("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.own.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED if asks_for_certificate else ssl.CERT_NONE

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            assert await reader.readexactly(8) == _SSL_REQUEST, "a client that does without TLS"
            writer.write(b"S")
            await writer.start_tls(context)
            from_server, to_server = await asyncio.open_unix_connection(server / SOCKET)
            await asyncio.gather(pass_on(reader, to_server), pass_on(from_server, writer))
        except (OSError, AssertionError, asyncio.IncompleteReadError):
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]
