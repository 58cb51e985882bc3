"""The operator as its command line starts it, and an API server over HTTP that may leave calls unanswered.

That server tells Kopf of no kind, so there are no watches, and the roundup alone finds an app.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from inventory_operator import cli
from inventory_operator.kube import ApiError
from inventory_operator.observe import apps_path
from prometheus_client import CollectorRegistry

from tests.integration.ports import free_port

from .api_server import ApiServer, Object

NAMESPACE = "shop"
APPS = apps_path(NAMESPACE)
SECONDS = 10.0
"""For whatever is waited for."""


class Served:
    """The objects of an API server, over HTTP."""

    def __init__(self, objects: ApiServer) -> None:
        self.calls: list[tuple[str, str]] = []
        """Method and path of each that came, answered or not."""
        self._objects = objects
        self._unanswered: Callable[[str], bool] = lambda _: False
        self._changed = asyncio.Condition()

    async def leave_unanswered(self, paths: Callable[[str], bool]) -> None:
        """From now on calls of these, and no others: what has waited for its answer gets it."""
        async with self._changed:
            self._unanswered = paths
            self._changed.notify_all()

    async def answer_all(self) -> None:
        await self.leave_unanswered(lambda _: False)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Returns when this is so after some call. Raises TimeoutError."""
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(reached)

    async def until_called(self, method: str, path: str, times: int) -> None:
        """So often from now on."""
        before = self.calls.count((method, path))
        await self.until(lambda: self.calls.count((method, path)) >= before + times)

    async def answer(self, request: web.Request) -> web.Response:
        async with self._changed:
            self.calls.append((request.method, request.path))
            self._changed.notify_all()
            await self._changed.wait_for(lambda: not self._unanswered(request.path))
        try:
            answer = web.json_response(await self._found(request))
        except ApiError as error:
            answer = web.json_response({"message": str(error)}, status=error.status)
        # At its end Kopf ends each task that began after it, and with it whoever listens to a connection of before.
        answer.force_close()
        return answer

    async def _found(self, request: web.Request) -> Object:
        if request.path in ("/api", "/apis"):
            return {"versions": [], "groups": []}
        if request.path == APPS:
            found = [each for path, each in self._objects.objects.items() if path.startswith(f"{APPS}/")]
            return {"metadata": {}, "items": found}
        text = await request.text()
        body: Object = json.loads(text) if text else {}
        query: dict[str, str] = dict(request.query)
        return await self._objects.request(request.method, request.path, body, request.content_type, **query)


@asynccontextmanager
async def running_operator(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """`inventory-operator run` with these arguments, and how to ask whether it is alive, as its probe does."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", free_port())
    await site.start()
    _lead_to(site.name, folder / "kubeconfig", monkeypatch)
    monkeypatch.setattr(cli, "REGISTRY", CollectorRegistry())  # a process has one operator, but for this one
    port = free_port()
    parsed = cli._parser().parse_args(("run", f"--namespace={NAMESPACE}", f"--port={port}", *arguments))
    running = asyncio.create_task(parsed.run(parsed))

    async def alive() -> bool:
        url = f"http://127.0.0.1:{port}/livez"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status == 200

    try:
        await served.until(lambda: bool(served.calls))  # Its own server is there before it asks for anything.
        yield alive
    finally:
        await served.answer_all()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(each)  # Kopf's
        await runner.cleanup()


def _lead_to(address: str, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For Kopf, which looks into the environment, and for the client, which has looked before."""
    found: Object = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": address}}],
        "users": [{"name": "test", "user": {}}],
    }
    kubeconfig.write_text(json.dumps(found))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
