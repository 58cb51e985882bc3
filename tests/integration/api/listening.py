"""The service in this process, behind a real HTTP server: with connections, and callers who are slow or go away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from tests.integration.conditions import soon


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """Its address. The app's lifespan is its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # What the kernel keeps for a caller who doesn't read would hide how slow that caller is.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        config = uvicorn.Config(app, http="httptools", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))

        async def has_started() -> bool:
            return server.started

        await soon(has_started)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
