"""Tells somebody elsewhere when a release begins, ends, fails or waits for a person: one POST for each.

It never holds a release up: what can't be delivered in three attempts is dropped, and logged.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp

from .actions import Emit
from .model import App

log = logging.getLogger(__name__)

SECONDS = 5.0
ATTEMPTS = 3
WAITING = 100
"""Messages that may wait; further ones are dropped, the oldest first."""
QUIET = frozenset({"StepDone", "RollingOut", "Superseded", "CommandRefused", "BackupTaken"})
"""Events that are not worth waking anybody."""


class Webhook:
    """Messages go out one after the other, in the background."""

    def __init__(self, url: str, form: str = "generic") -> None:
        self._url, self._form = url, form
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def tell(self, app: App, event: Emit, revision: Mapping[str, int | None]) -> None:
        """Soon, if the event is worth it."""
        if event.reason in QUIET:
            return
        while self._messages.qsize() >= WAITING:
            self._messages.get_nowait()
            log.warning("a webhook message was dropped: too many wait")
        self._messages.put_nowait(body(self._form, app, event, revision))

    async def run(self) -> None:
        """Until cancelled."""
        limit = aiohttp.ClientTimeout(total=SECONDS)
        async with aiohttp.ClientSession(timeout=limit) as session:
            while True:
                await self._deliver(session, await self._messages.get())

    async def _deliver(self, session: aiohttp.ClientSession, message: dict[str, Any]) -> None:
        said = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(2 ** (attempt - 1))
            try:
                async with session.post(self._url, json=message, allow_redirects=False) as response:
                    if response.status < 300:
                        return
                    said = f"it answers {response.status}"
                    if response.status < 500 and response.status != 429:
                        break
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                said = type(error).__name__  # its text may hold the URL, and with it a secret
        log.warning("a webhook message could not be delivered: %s", said)


def body(form: str, app: App, event: Emit, revision: Mapping[str, int | None]) -> dict[str, Any]:
    """The message: `slack` for what takes Slack's incoming webhooks, else plain fields."""
    if form == "slack":
        sign = ":warning:" if event.type == "Warning" else ":package:"
        return {"text": f"{sign} *{app.namespace}/{app.name}* {event.reason}: {event.message}"}
    known = {key: value for key, value in revision.items() if value is not None}
    return {
        "namespace": app.namespace,
        "name": app.name,
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        **known,
    }
