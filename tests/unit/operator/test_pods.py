"""Asking pods why they aren't ready, over real HTTP."""

import ipaddress
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web
from inventory_operator import pods
from inventory_operator.model import Pod

from .world import START

POD = Pod("inventory-x", "abc", START, address="127.0.0.1")
WHY = "The database's schema cannot be read: connection refused"


@pytest.fixture
async def answers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, web.Response]]:
    """What /readyz on this machine answers, under "answer"; the pods' port is the server's."""
    given: dict[str, web.Response] = {}

    async def readyz(_: web.Request) -> web.Response:
        return given["answer"]

    app = web.Application()
    app.add_routes([web.get("/readyz", readyz)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    assert ipaddress.ip_address(host).is_loopback
    monkeypatch.setattr(pods, "PORT", port)
    yield given
    await runner.cleanup()


async def test_a_pod_that_is_not_ready_says_why_and_whether_it_waits(answers: dict[str, web.Response]) -> None:
    answers["answer"] = web.json_response({"status": "unready", "reasons": [WHY], "waiting": True}, status=503)
    assert await pods.ask([POD]) == (replace(POD, unready=WHY, waits=True),)


@pytest.mark.parametrize("answer", [web.Response(text="no JSON"), web.json_response([]), web.Response(status=404)])
async def test_an_answer_that_makes_no_sense_says_nothing(
    answers: dict[str, web.Response], answer: web.Response
) -> None:
    answers["answer"] = answer
    assert await pods.ask([POD]) == (POD,)


async def test_pods_that_are_ready_or_going_or_migrate_are_not_asked(answers: dict[str, web.Response]) -> None:
    answers["answer"] = web.json_response({"reasons": ["asked"]})
    others = [replace(POD, ready=True), replace(POD, deleting=True), replace(POD, migrates=True)]
    assert await pods.ask(others) == tuple(others)


async def test_a_pod_that_can_not_be_reached_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "PORT", 1)
    assert await pods.ask([POD]) == (POD,)
