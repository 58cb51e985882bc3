"""What is made of answers that Prometheus, or something else at its address, can give: over real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from aiohttp import web
from inventory_operator import prometheus
from inventory_operator.model import Analysis, Metric, Tally

from .world import START, an_app


class Answers:
    """What the server at `address` says, and what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.answer: Callable[[], web.Response] = web.Response
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def says(self, kind: str, result: object) -> None:
        self.answer = lambda: web.json_response({"status": "success", "data": {"resultType": kind, "result": result}})

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, {name: str(value) for name, value in (await request.post()).items()}))
        await self.gate.wait()
        return self.answer()


@pytest.fixture
async def answers() -> AsyncIterator[Answers]:
    given = Answers()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", given.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    given.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield given
    given.gate.set()
    await runner.cleanup()


async def ask(address: str, query: str = "up") -> prometheus.Answer:
    async with prometheus.client() as session:
        return await prometheus.ask(session, address, query)


async def test_a_scalar_is_a_value_and_a_vector_has_one_a_series(answers: Answers) -> None:
    answers.says("scalar", [1, "0.25"])
    scalar = await ask(answers.address)
    answers.says("vector", [{"metric": {}, "value": [1, "1"]}, {"metric": {"a": "b"}, "value": [1, "+Inf"]}])
    vector = await ask(f"{answers.address}/behind/a/path/")
    answers.says("vector", [])
    nothing = await ask(answers.address, 'a{b="&=ä"}')

    assert (scalar, vector, nothing) == ((0.25,), (1.0, float("inf")), ())
    assert answers.asked == [
        ("/api/v1/query", {"query": "up", "timeout": "5s"}),
        ("/behind/a/path/api/v1/query", {"query": "up", "timeout": "5s"}),
        ("/api/v1/query", {"query": 'a{b="&=ä"}', "timeout": "5s"}),
    ]


@pytest.mark.parametrize(
    ("kind", "result", "said"),
    [
        ("matrix", [], "the query gives a matrix, and must give a scalar or an instant vector"),
        ("string", [1, "a"], "the query gives a string, and must give a scalar or an instant vector"),
        ("vector", [{"metric": {}, "histogram": [1, {}]}], "the query gives histograms, and must give numbers"),
        ("vector", [{"metric": {}, "value": [1, "many"]}], "what answers at HERE is not Prometheus (HTTP 200)"),
        ("vector", ["up"], "what answers at HERE is not Prometheus (HTTP 200)"),
        ("scalar", [1], "what answers at HERE is not Prometheus (HTTP 200)"),
    ],
)
async def test_what_is_no_number_is_said(answers: Answers, kind: str, result: object, said: str) -> None:
    answers.says(kind, result)

    assert _here(answers, await ask(answers.address)) == said


REFUSAL = {"status": "error", "errorType": "bad_data", "error": "parse error:\n\x1b[1mno such function.  "}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda: web.json_response(REFUSAL, status=400),
            "Prometheus refuses the query: parse error: [1mno such function",
        ),
        (
            lambda: web.json_response({"status": "error", "error": "x" * 9_999}, status=503),
            f"Prometheus refuses the query: {'x' * prometheus.CHARACTERS}",
        ),
        (lambda: web.Response(text="<html>"), "what answers at HERE is not Prometheus (HTTP 200)"),
        (lambda: web.Response(text="[" * 99_999), "what answers at HERE is not Prometheus (HTTP 200)"),
        (lambda: web.Response(body=b"\xff\xfe"), "what answers at HERE is not Prometheus (HTTP 200)"),
        (lambda: web.json_response([]), "what answers at HERE is not Prometheus (HTTP 200)"),
        (lambda: web.Response(status=401, text="Who are you?"), "what answers at HERE is not Prometheus (HTTP 401)"),
        (
            lambda: web.json_response(
                {"status": "success", "data": {"resultType": "scalar", "result": [1, "0"]}}, status=500
            ),
            "what answers at HERE is not Prometheus (HTTP 500)",
        ),
        (
            lambda: web.Response(status=307, headers={"Location": "/elsewhere"}),
            "HERE answers with a redirect (HTTP 307), which is not followed",
        ),
        (
            lambda: web.Response(text=" " * prometheus.BYTES),
            f"Prometheus at HERE answers with more than {prometheus.BYTES} bytes: the query has too many series",
        ),
    ],
)
async def test_what_is_no_answer_is_said_in_short(
    answers: Answers, answer: Callable[[], web.Response], said: str
) -> None:
    answers.answer = answer

    assert _here(answers, await ask(answers.address)) == said
    assert len(answers.asked) == 1


async def test_one_that_says_nothing_is_not_waited_for_for_long(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "SECONDS", 0.2)
    answers.gate.clear()
    started = time.monotonic()
    said = await ask(answers.address)

    assert _here(answers, said) == "Prometheus at HERE did not answer within 0.2 s"
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:///etc/passwd", "the address of Prometheus must begin with http:// or https://, and name a host"),
        ("prometheus:9090", "the address of Prometheus must begin with http:// or https://, and name a host"),
        ("http://", "the address of Prometheus"),
        ("http://a:99999", "the address of Prometheus is no URL"),
        ("http://[::1", "the address of Prometheus is no URL"),
        ("", "the address of Prometheus must begin"),
    ],
)
async def test_an_address_that_is_none_is_said(address: str, said: str) -> None:
    answer = await ask(address)

    assert isinstance(answer, str)
    assert answer.startswith(said)


async def test_a_password_in_the_address_is_not_told(unused_port: int) -> None:
    answer = await ask(f"http://user:secret@127.0.0.1:{unused_port}")

    assert isinstance(answer, str)
    assert answer.startswith(f"Prometheus at 127.0.0.1:{unused_port} can't be reached: ")
    assert "secret" not in answer


@pytest.fixture
async def unused_port() -> int:
    """One that nothing listens on any more."""
    async with await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0) as server:
        return int(server.sockets[0].getsockname()[1])


# measuring

ONE, TWO = Metric("one", "rate(a[{{range}}])", good_max=1), Metric("two", "x", good_max=1)
OLD = Tally("two", good=2, measured=START, said="0")


async def measured(answers: Answers, *metrics: Metric, asked: Metric = ONE) -> tuple[Tally, ...]:
    analysis = Analysis(answers.address, (asked, TWO))
    return await prometheus.measure(analysis, an_app(), metrics, [OLD, Tally("gone")], "aa", "bb", START)


async def test_only_what_is_due_is_asked_and_the_rest_stays(answers: Answers) -> None:
    answers.says("vector", [{"value": [1, "0.5"]}, {"value": [1, "1.5"]}, {"value": [1, "NaN"]}])

    assert await measured(answers, ONE) == (Tally("one", bad=1, measured=START, said="1.5"), OLD)
    assert [form["query"] for _, form in answers.asked] == ["rate(a[1m])"]


async def test_all_that_is_due_is_asked_at_once(answers: Answers) -> None:
    answers.says("scalar", [1, "0"])
    answers.gate.clear()
    measuring = asyncio.create_task(measured(answers, ONE, TWO))
    async with asyncio.timeout(3):
        while len(answers.asked) < 2:  # noqa: ASYNC110 - what is awaited happens in the server
            await asyncio.sleep(0.01)
    answers.gate.set()

    assert await measuring == (Tally("one", good=1, measured=START, said="0"), replace(OLD, good=3))


async def test_a_query_that_can_not_be_asked_is_unclear_and_harms_no_other(answers: Answers) -> None:
    answers.says("scalar", [1, "0"])
    wrong = replace(ONE, query="{{what}}")
    one, two = await measured(answers, wrong, TWO, asked=wrong)

    assert (one.unclear, two.good) == (1, 3)
    assert one.said.startswith("the query of one has {{what}}; there are only {{app}}, ")


def _here(answers: Answers, answer: prometheus.Answer) -> str:
    assert isinstance(answer, str), answer
    return answer.replace(answers.address.removeprefix("http://"), "HERE")
