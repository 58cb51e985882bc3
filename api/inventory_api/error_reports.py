"""Unexpected errors, sent to Sentry. Imported only where a DSN is set, for it costs memory and time to start.

What is sent is named here and nothing is collected: the kinds of the errors, a line of what each says, the code that
they went through, and which request of which release it was. No header, query, body or variable.
"""

import asyncio
import re
import socket
from typing import TYPE_CHECKING

from sentry_sdk import Client
from sentry_sdk.transport import Transport
from sentry_sdk.utils import capture_internal_exceptions, event_from_exception

from inventory_api.logs import without_secrets
from inventory_api.settings import ServiceSettings

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_FLUSH_SECONDS = 2.0
_LONGEST_MESSAGE = 300
_ADDRESS = re.compile(r"[^\s@'\"()<>=]+@[^\s@'\"()<>=]+")


class ErrorReports:
    def __init__(self, settings: ServiceSettings, transport: Transport | None = None) -> None:
        """`transport` is Sentry's own unless given."""
        self._client = Client(
            dsn=settings.sentry_dsn.get_secret_value() if settings.sentry_dsn else None,
            transport=transport,
            release=f"inventory@{settings.version}",
            environment=settings.environment,
            server_name=socket.gethostname(),
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
            enable_backpressure_handling=False,
            spotlight=False,
            before_send=_without_data,
        )
        self._tags = {"release": settings.release, "revision": settings.revision}

    def report(self, error: BaseException, **tags: str) -> None:
        """Queues a report and returns at once; one too many is dropped."""
        with capture_internal_exceptions():
            event, hint = event_from_exception(error, client_options=self._client.options)
            event["tags"] = {**self._tags, **tags}
            self._client.capture_event(event, hint)

    async def close(self) -> None:
        """Sends what is left, for two seconds at most."""
        await asyncio.to_thread(self._client.close, _FLUSH_SECONDS)


def _without_data(event: "Event", _hint: "Hint") -> "Event":
    for error in event.get("exception", {}).get("values", ()):
        error["value"] = _message(error.get("value") or "")
    return event


def _message(said: str) -> str:
    """The first line: PostgreSQL tells in the next ones what is in the row, and pydantic what it was given."""
    first = said.strip().split("\n", 1)[0][:_LONGEST_MESSAGE]
    return _ADDRESS.sub("[address]", without_secrets(first))
