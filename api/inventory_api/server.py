"""One Uvicorn process, which drains when it is told to end."""

import gc
import signal
import socket

import uvicorn

from inventory_api.app import create_app
from inventory_api.logs import configure_logs
from inventory_api.settings import ServiceSettings
from inventory_api.signals import exit_on

# Longer than an ingress keeps an idle connection to a pod (60 s for ingress-nginx): the side that sends requests must
# be the one that closes, or a request may meet a connection that is just being closed.
_KEEP_ALIVE_SECONDS = 75
_DRAIN_SECONDS = 25
# libuv accepts one connection of a socket in each turn of its loop. When many come at once and those that are there
# keep it busy, a probe that comes after them would wait for as many turns, which may be seconds. So it gets several
# handles of the one socket.
_ACCEPTED_AT_ONCE = 16


def serve(settings: ServiceSettings, listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT, then lets requests under way finish for up to 25 s."""
    configure_logs(settings.log_level, readable=settings.environment == "development")
    app = create_app(settings)
    # What is there now stays: each full collection would look through all of it, and hold all requests up meanwhile.
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    # Uvicorn raises the signal again once it has drained; ending then is a success, not a death.
    exit_on(signal.SIGTERM, signal.SIGINT, status=0)
    uvicorn.Server(config).run(sockets=[listener, *(listener.dup() for _ in range(_ACCEPTED_AT_ONCE - 1))])


def listen(host: str | None, port: int) -> socket.socket:
    """On every address of both families where the machine has both, else on the given or every IPv4 address."""
    if host is None and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=2048)
    return socket.create_server((host or "", port), backlog=2048)
