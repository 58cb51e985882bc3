"""What is posted, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web
from inventory_operator.model import Emit
from inventory_operator.webhook import WAITING, Webhook, body

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
    running = asyncio.create_task(webhook.run())
    try:
        return [await asyncio.wait_for(got.get(), 10) for _ in range(count)]
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


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
