"""Probes and metrics of the operator over HTTP."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

PORT = 8080


async def serve(ready: Callable[[], bool], alive: Callable[[], bool], port: int = PORT) -> web.AppRunner:
    """A running server: /livez, /readyz and /metrics. The caller cleans the runner up.

    `alive` is asked by /livez: a pass that hangs for minutes wants a restart.
    """

    async def probe_ready(_: web.Request) -> web.Response:
        return _answer(ready(), "the InventoryApps could not be listed yet")

    async def probe_alive(_: web.Request) -> web.Response:
        return _answer(alive(), "no worker has got round to its queue for minutes")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", probe_alive), web.get("/readyz", probe_ready), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner


def _answer(good: bool, otherwise: str) -> web.Response:
    return web.Response(text="ok\n") if good else web.Response(status=503, text=f"{otherwise}\n")
