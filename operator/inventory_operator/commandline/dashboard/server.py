"""The page's server: on 127.0.0.1 alone, for whoever knows the random word in its address.

The word keeps other people on the machine out; Host, Origin and a header of our own keep other pages in the same
browser out, whatever they know. Nothing is remembered but what was read within the last second.
"""

import argparse
import asyncio
import io
import secrets
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from aiohttp import web

from ...kube import ApiError, UnreachableError
from .. import orders
from ..act import give
from ..apps import App, find, find_all
from ..change import back_to
from ..client import Client
from ..console import Console
from ..exits import Ended, Exit
from .cards import card

Object = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ADDRESS = "127.0.0.1"
READ_SECONDS = 1.0
RIGHTS_SECONDS = 60.0
MAX_BODY_BYTES = 4096
HEADER = "X-Inventory-Dashboard"
"""A page of another origin can't send it: the browser would ask us first, and we don't answer that."""
PAGE = {"": ("page.html", "text/html"), "page.css": ("page.css", "text/css"), "page.js": ("page.js", "text/javascript")}
SAFETY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ARGUMENTS = argparse.Namespace(wait=False, take_over=False, unchecked=False)


async def dashboard(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    """Serves until it is interrupted."""
    page = Dashboard(client, everywhere=args.all_namespaces)
    runner = await page.start(args.port)
    try:
        console.say(f"The page is at {page.url} until you press Ctrl-C. Who has this address acts with your rights.")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
    return Exit.DONE


class Dashboard:
    def __init__(self, client: Client, *, everywhere: bool) -> None:
        self._client = client
        self._everywhere = everywhere
        self._token = secrets.token_urlsafe(32)
        self._hosts: frozenset[str] = frozenset()
        self._reading = asyncio.Lock()
        self._read: tuple[float, list[App]] = (0.0, [])
        self._rights: dict[str, tuple[float, bool]] = {}
        self.url = ""

    async def start(self, port: int) -> web.AppRunner:
        """Raises Ended if the port is taken."""
        app = web.Application(middlewares=[self._guard()], client_max_size=MAX_BODY_BYTES)
        app.add_routes([web.get(f"/{self._token}/{name}", _file(*file)) for name, file in PAGE.items()])
        app.add_routes([web.get(f"/{self._token}/apps", self._apps), web.post(f"/{self._token}/orders", self._orders)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, ADDRESS, port).start()
        except OSError as error:
            await runner.cleanup()
            raise Ended(Exit.ERROR, f"port {port} can't be had: {error.strerror or error}") from error
        bound = runner.addresses[0][1]
        self._hosts = frozenset({f"{ADDRESS}:{bound}", f"localhost:{bound}"})
        self.url = f"http://{ADDRESS}:{bound}/{self._token}/"
        return runner

    def _guard(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.host not in self._hosts:  # a name of somebody else's that leads here
                response: web.StreamResponse = web.Response(status=421, text="not under this name\n")
            elif request.method == "POST" and not self._ours(request):
                response = web.Response(status=403, text="not from this page\n")
            else:
                try:
                    response = await handler(request)
                except web.HTTPException as error:
                    response = web.Response(status=error.status, text=f"{error.reason}\n")
            response.headers.update(SAFETY)
            return response

        return guard

    def _ours(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin", "")
        own = origin.removeprefix("http://") == request.host and origin.startswith("http://")
        return own and request.headers.get(HEADER) == "1" and request.content_type == "application/json"

    async def _apps(self, _: web.Request) -> web.Response:
        try:
            async with self._reading:  # many tabs ask the cluster no more often than one
                at, apps = self._read
                if time.monotonic() - at > READ_SECONDS:
                    apps = await find_all(self._client, everywhere=self._everywhere)
                    self._read = (time.monotonic(), apps)
            cards = [card(app, allowed=await self._may_change(app.namespace)) for app in apps]
        except (ApiError, UnreachableError) as error:
            return web.json_response({"error": str(error)}, status=502)
        return web.json_response({"apps": cards})

    async def _orders(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            namespace, name, action, value = (str(wanted[key]) for key in ("namespace", "name", "action", "value"))
        except (ValueError, KeyError, TypeError):
            return web.json_response({"said": "this is no order"}, status=400)
        said, progress = io.StringIO(), io.StringIO()
        try:
            code = await self._carry_out(Console(said, progress, io.StringIO()), namespace, name, action, value)
            sentence = f"{progress.getvalue()}{said.getvalue()}"
        except Ended as end:
            code, sentence = end.code, str(end)
        except (ApiError, UnreachableError) as error:
            code, sentence = Exit.ERROR, str(error)
        self._read = (0.0, [])
        return web.json_response({"code": int(code), "said": sentence.strip()})

    async def _carry_out(self, console: Console, namespace: str, name: str, action: str, value: str) -> Exit:
        """Only if it still is what the person saw. Raises Ended, ApiError, UnreachableError."""
        if not self._everywhere and namespace != self._client.namespace:
            raise Ended(Exit.USAGE, f"namespace {namespace} is not on this page")
        client = self._client.at(namespace)
        app = await find(client, name)
        if action == "rollback":
            wanted = app.by_hash(value)
            if wanted is None:
                raise Ended(Exit.REFUSED, "this release is not kept any more")
            return await back_to(client, console, ARGUMENTS, app, wanted)
        order = _order(app, action)
        if order.value != value:
            raise Ended(Exit.REFUSED, f"{name} has moved on since you looked: nothing was ordered")
        return await give(client, console, ARGUMENTS, app, order)

    async def _may_change(self, namespace: str) -> bool:
        """Asked of the API server. Where it can't be asked, the order itself shows it."""
        at, allowed = self._rights.get(namespace, (0.0, False))
        if at and time.monotonic() - at < RIGHTS_SECONDS:
            return allowed
        asked = {"namespace": namespace, "verb": "patch", "group": "inventory.dev", "resource": "inventoryapps"}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        try:
            answer = await self._client.request("POST", path, {"spec": {"resourceAttributes": asked}})
            allowed = bool((answer.get("status") or {}).get("allowed"))
        except ApiError:
            allowed = True
        self._rights[namespace] = (time.monotonic(), allowed)
        return allowed


def _order(app: App, action: str) -> orders.Order:
    match action:
        case "promote" | "promote-full":
            return orders.promote(app, full=action == "promote-full")
        case "abort":
            return orders.abort(app)
    raise Ended(Exit.USAGE, f"{action} is not on this page")


def _file(name: str, kind: str) -> Handler:
    text = (files(__package__) / name).read_text(encoding="utf-8")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=kind, charset="utf-8")

    return answer
