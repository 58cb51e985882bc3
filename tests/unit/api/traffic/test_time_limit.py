"""How long a request may take, where many share one timer."""

import asyncio

import pytest
from inventory_api.metrics import Metrics
from inventory_api.traffic.routes import RouteClass
from inventory_api.traffic.time_limit import TimeLimit
from starlette.types import Receive, Scope, Send

from .asgi import answering, request

SECONDS = 0.2


def limited(app: object) -> TimeLimit:
    return TimeLimit(app, dict.fromkeys(RouteClass, SECONDS), Metrics("1", "r1", "1"))  # type: ignore[arg-type]


async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"].endswith("/quick"):
        return await answering(b"{}")(scope, receive, send)
    await asyncio.Event().wait()


async def test_each_of_several_requests_has_all_of_its_own_time() -> None:
    app, loop = limited(hanging), asyncio.get_running_loop()

    async def ended_after(pause: float) -> tuple[int, float]:
        await asyncio.sleep(pause)
        began = loop.time()
        return (await request(app)).status, loop.time() - began

    ended = await asyncio.gather(*map(ended_after, (0, 0.1, 0.15)))

    assert [status for status, _ in ended] == [503] * 3
    assert all(SECONDS <= taken < SECONDS + 1 for _, taken in ended)


async def test_a_request_that_comes_when_others_are_over_is_ended_too() -> None:
    app = limited(hanging)

    answers = [await request(app, path) for path in ("/quick", "/slow", "/quick", "/quick", "/slow")]

    assert [answer.status for answer in answers] == [200, 503, 200, 200, 503]


async def test_who_waits_no_longer_is_not_told_that_it_took_too_long() -> None:
    task = asyncio.create_task(request(limited(hanging)))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_limit_of_something_inside_is_not_taken_for_the_requests() -> None:
    async def impatient(_scope: Scope, _receive: Receive, _send: Send) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await request(limited(impatient))
