"""What is posted, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from inventory_operator.actions import Emit
from inventory_operator.reconcile import Reconciler
from inventory_operator.webhook import WAITING, Webhook, body

from .running_operator import Served, running_operator
from .test_reconcile import APP, Answering, a_server
from .world import an_app

BEGUN = Emit("Normal", "ReleaseBegun", "Revision 2 begins: api:2")


@asynccontextmanager
async def receiver(*statuses: int) -> AsyncIterator[tuple[str, "asyncio.Queue[Any]"]]:
    """Answers with these statuses in turn, then with 200."""
    got: asyncio.Queue[Any] = asyncio.Queue()
    left = list(statuses)

    async def take(request: web.Request) -> web.Response:
        await got.put(await request.json())
        return web.Response(status=left.pop(0) if left else 200)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"http://127.0.0.1:{port}/hook", got
    finally:
        await runner.cleanup()


async def told(webhook: Webhook, got: "asyncio.Queue[Any]", *events: Emit, count: int = 1) -> list[Any]:
    for event in events:
        webhook.tell(an_app(), event, {"stableRevision": 1, "candidateRevision": None})
    async with running(webhook):
        return [await asyncio.wait_for(got.get(), 10) for _ in range(count)]


@asynccontextmanager
async def running(webhook: Webhook) -> AsyncIterator[None]:
    task = asyncio.create_task(webhook.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_release_that_begins_is_posted_and_its_steps_are_not() -> None:
    async with receiver() as (url, got):
        [said] = await told(Webhook(url), got, Emit("Normal", "StepDone", "step 1"), BEGUN)
    assert said == {
        "namespace": "shop",
        "name": "inventory",
        "type": "Normal",
        "reason": "ReleaseBegun",
        "message": "Revision 2 begins: api:2",
        "stableRevision": 1,
    }


async def test_what_could_not_be_delivered_is_tried_again() -> None:
    async with receiver(503) as (url, got):
        said = await told(Webhook(url), got, BEGUN, count=2)
    assert said[0] == said[1]


def test_slack_gets_its_own_form() -> None:
    failed = Emit("Warning", "GateFailed", "Revision 2 failed")
    assert body("slack", an_app(), failed, {}) == {"text": ":warning: *shop/inventory* GateFailed: Revision 2 failed"}


async def test_a_receiver_that_is_away_holds_nothing_up_and_costs_bounded_memory() -> None:
    webhook = Webhook("http://127.0.0.1:9/hook")
    for _ in range(10 * WAITING):
        webhook.tell(an_app(), BEGUN, {})
    assert webhook._messages.qsize() == WAITING


class Releases:
    """Releases of an app, and what is posted of them."""

    def __init__(self, server: Answering, url: str, got: "asyncio.Queue[Any]") -> None:
        self.server, self.webhook = server, Webhook(url)
        self._reconciler, self._got = Reconciler(server, webhook=self.webhook), got

    async def go_on(self) -> None:
        """As far as they come without a person."""
        for _ in range(6):
            await self._reconciler.reconcile(("shop", "inventory"))
            self.server.settle()

    async def order(self, **annotations: str) -> None:
        found = {f"inventory.dev/{command}": value for command, value in annotations.items()}
        self.server.objects[APP]["metadata"]["annotations"] = found
        await self.go_on()

    async def release(self, image: str) -> None:
        self.server.objects[APP]["spec"]["image"] = image
        self.server.objects[APP]["metadata"]["generation"] += 1
        await self.go_on()

    async def posted(self) -> list[tuple[Any, ...]]:
        """Reason, type, the stable and the candidate revision of each message; the last one says that it is."""
        self.webhook.tell(an_app(), Emit("Normal", "NoMore", ""), {})
        fields = ("reason", "type", "stableRevision", "candidateRevision")
        found = []
        while (said := await asyncio.wait_for(self._got.get(), 10))["reason"] != "NoMore":
            found.append(tuple(said.get(field) for field in fields))
        return found


async def test_releases_that_begin_wait_for_a_person_end_and_fail_are_told_each_once() -> None:
    strategy = {"canary": {"steps": [{"weight": 50}, {"pause": {}}]}}
    server = a_server(strategy=strategy)
    async with receiver() as (url, got):
        releases = Releases(server, url, got)
        async with running(releases.webhook):
            await releases.go_on()
            assert await releases.posted() == [
                ("ReleaseBegun", "Normal", None, 1),
                ("Promoted", "Normal", None, 1),
            ]
            await releases.release("api:2")
            assert await releases.posted() == [
                ("ReleaseBegun", "Normal", 1, 2),
                ("AwaitingPromotion", "Normal", 1, 2),
            ]
            await releases.order(promote="2/2")
            assert await releases.posted() == [("Promoted", "Normal", 1, 2)]
            await releases.release("api:3")
            await releases.order(abort="3")
            assert await releases.posted() == [
                ("ReleaseBegun", "Normal", 2, 3),
                ("AwaitingPromotion", "Normal", 2, 3),
                ("Aborted", "Warning", 2, 3),
            ]


@pytest.mark.parametrize(
    "reason",
    [
        *("ReleaseBegun", "Promoted", "AwaitingPromotion", "AnalysisInconclusive"),
        *("MigrationFailed", "MigrationRefused", "SchemaIncompatible", "ImagePullFailed", "ProgressDeadlineExceeded"),
        *("AnalysisFailed", "GateFailed", "TrafficNotRouted", "Aborted"),
        *(f"{kind}{what}" for kind in ("Contract", "Downgrade", "Restore") for what in ("Begun", "Done", "Failed")),
    ],
)
async def test_what_somebody_may_have_to_know_is_told(reason: str) -> None:
    async with receiver() as (url, got):
        [said] = await told(Webhook(url), got, Emit("Normal", reason, "what there is"))
    assert said["reason"] == reason


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), {"namespace": "shop", "name": "inventory", "reason": "ReleaseBegun", "candidateRevision": 1}),
        (("--webhook-format=slack",), {"text": ":package: *shop/inventory* ReleaseBegun: Revision 1 begins: api:1"}),
    ],
)
async def test_the_operator_posts_to_the_address_in_its_environment_in_the_form_that_it_is_told(
    arguments: tuple[str, ...], message: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver() as (url, got):
        monkeypatch.setenv("INVENTORY_WEBHOOK_URL", url)
        async with running_operator(Served(a_server()), tmp_path, monkeypatch, *arguments):
            said = await asyncio.wait_for(got.get(), 10)
    assert message.items() <= said.items()
    assert ("text" in said) == ("text" in message)
