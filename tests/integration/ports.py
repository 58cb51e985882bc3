"""A port for a server that a test starts, and may stop and start again."""

import random
import socket

# Below those from which the kernel gives each connection one, so that none takes a port while its server is stopped.
_FROM, _TO = 10_000, 30_000
# Hypothesis seeds the usual generator, the same in each process of a run.
_CHANCE = random.SystemRandom()


def free_port() -> int:
    """One that nobody listens on. Several processes ask at once, hence by chance and not the first that is free."""
    while True:
        port = _CHANCE.randrange(_FROM, _TO)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
