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
        answer = given["answer"]  # each object can be sent once
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    app = web.Application()

    async def elsewhere(_: web.Request) -> web.Response:
        return web.json_response({"reasons": ["not its own words"]})

    app.add_routes([web.get("/readyz", readyz), web.get("/elsewhere", elsewhere)])
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


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="no JSON"),
        web.json_response([]),
        web.Response(status=404),
        web.Response(text="[" * 10_000),
        web.json_response({"reasons": ["x" * pods.BYTES]}),
        web.Response(status=302, headers={"Location": "/elsewhere"}),
    ],
)
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


async def test_some_of_each_release_are_asked(answers: dict[str, web.Response]) -> None:
    answers["answer"] = web.json_response({"reasons": [WHY]})
    many = [replace(POD, name=f"{owner}-{number}", owner=owner) for owner in ("abc", "def") for number in range(5)]
    said = [pod.owner for pod in await pods.ask(many) if pod.unready]
    assert said == ["abc"] * pods.MOST + ["def"] * pods.MOST
