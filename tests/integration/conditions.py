"""Waiting for something to become true, with a limit."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 20
_INTERVAL_SECONDS = 0.02


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition.__name__}"
        pause.wait(_INTERVAL_SECONDS)


async def soon(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_SECONDS) -> None:
    """The same without standing in the way of the event loop."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(_INTERVAL_SECONDS)


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True
