"""A candidate judged by a real Prometheus, which scrapes the real service at real requests."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from inventory_operator import prometheus as asking
from inventory_operator.analysis import State, Verdict, builtin_metrics, due_metrics, rendered, verdict
from inventory_operator.model import Analysis, App, Metric, Tally

from tests.integration.api.services import EMAIL, PASSWORD, served
from tests.integration.conditions import PATIENCE_SECONDS, soon
from tests.integration.operator.prometheus import Prometheus, ScrapedPod, running_prometheus
from tests.integration.stores import SERVICE, Postgres

STABLE, CANDIDATE = "aaaaaaaaaa", "bbbbbbbbbb"
APP = App("shop", "inventory", "uid", 1, {})
LONGEST_SECONDS = 60


class Callers:
    """They call a release's one pod, and wait until Prometheus has counted it."""

    def __init__(self, pod: ScrapedPod, prometheus: Prometheus) -> None:
        self._pod = pod
        self._prometheus = prometheus
        self._sent = 0

    async def send(self, number: int, path: str) -> Counter[int]:
        """Signs in, sends so many requests, and returns how often each status answered them."""
        few = httpx.Limits(max_connections=4)
        async with httpx.AsyncClient(base_url=self._pod.service.url, timeout=PATIENCE_SECONDS, limits=few) as http:
            token = await http.post("/api/v1/auth/token", json={"email": EMAIL, "password": PASSWORD})
            headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
            answers = await asyncio.gather(*(http.get(path, headers=headers) for _ in range(number)))
        self._sent += 1 + number
        await self.counted(self._sent, "/api/.*")
        return Counter(answer.status_code for answer in answers)

    async def counted(self, number: int, route: str) -> None:
        query = f'sum(http_requests_total{{pod="{self._pod.name}",route=~"{route}"}}) >= {number}'

        async def knows() -> bool:
            answer = await ask(self._prometheus, query)
            assert not isinstance(answer, str), answer
            return bool(answer)

        await soon(knows)


@contextmanager
def scraped(postgres: Postgres, **databases: str) -> Iterator[tuple[Prometheus, list[Callers]]]:
    """A pod of each release, on a database of its own."""
    with ExitStack() as stack:
        pods = []
        for release, database in databases.items():
            service = stack.enter_context(served(postgres.url(database, SERVICE)))
            pods.append(ScrapedPod(service, APP.namespace, f"{APP.name}-{release}-5d9f7c6b8-x7xkp"))
        prometheus = stack.enter_context(running_prometheus(*pods))
        yield prometheus, [Callers(pod, prometheus) for pod in pods]


async def ask(prometheus: Prometheus, query: str) -> asking.Answer:
    async with asking.client() as session:
        return await asking.ask(session, prometheus.url, query)


def built_in(prometheus: Prometheus, *more: Metric, range: str = "1m") -> Analysis:
    """The built-in set, and more, measured once a second; the second unclear answer in a row is one too many."""
    metrics = (*builtin_metrics({}), *more)
    return Analysis(prometheus.url, tuple(replace(metric, interval=1, unclear_limit=1) for metric in metrics), range)


async def judged(analysis: Analysis) -> Verdict:
    """What it comes to, asked as often as the operator would."""
    tallies: tuple[Tally, ...] = ()
    async with asyncio.timeout(LONGEST_SECONDS):
        while (found := verdict(analysis, tallies)).state is State.RUNNING:
            now = datetime.now(UTC)
            due = due_metrics(analysis, tallies, now)
            tallies = await asking.measure(analysis, APP, due, tallies, STABLE, CANDIDATE, now)
            await asyncio.sleep(0.1)
    return found


def break_loans(postgres: Postgres, database: str) -> None:
    """As a release does whose migration has forgotten a grant: some of its routes answer, some can't."""
    postgres.execute("REVOKE SELECT ON loans FROM inventory_app", database=database)


async def test_a_candidate_that_answers_passes_though_the_stable_release_fails(
    postgres: Postgres, database: str, other_database: str
) -> None:
    break_loans(postgres, other_database)
    errors = 'sum(http_requests_total{namespace="{{namespace}}",pod=~"{{app}}-%s-.+",status="500"})'
    candidates, stables = errors % "{{candidate}}", errors % "{{stable}}"
    beside = Metric("beside-stable", f"({candidates} or vector(0)) / {stables}", good_max=0.5)

    with scraped(postgres, **{CANDIDATE: database, STABLE: other_database}) as (prometheus, (candidate, stable)):
        assert await candidate.send(30, "/api/v1/loans") == {200: 30}
        assert await stable.send(30, "/api/v1/loans") == {500: 30}
        found = await judged(built_in(prometheus, beside))

    assert found.state is State.PASSED, found
    assert found.message.startswith("Passed: error-ratio: 0 (good: at most 0.01), 3 of 3 good; p99: 0.")
    assert found.message.endswith("; beside-stable: 0 (good: at most 0.5), 3 of 3 good.")


async def test_a_candidate_that_fails_for_a_share_of_requests_fails_though_the_stable_release_answers(
    postgres: Postgres, database: str, other_database: str
) -> None:
    break_loans(postgres, database)
    with scraped(postgres, **{CANDIDATE: database, STABLE: other_database}) as (prometheus, (candidate, stable)):
        assert await stable.send(100, "/api/v1/loans") == {200: 100}
        assert await candidate.send(27, "/api/v1/categories") == {200: 27}
        assert await candidate.send(10, "/api/v1/loans") == {500: 10}
        found = await judged(built_in(prometheus))

    assert found.state is State.FAILED, found
    # 10 of 39, with the two who signed in
    assert found.message.startswith("Failed: error-ratio: 0.25641 (good: at most 0.01), 0 of 3 good, 1 bad (0 allowed)")


async def test_a_single_error_counts_though_its_counter_was_not_there_before(postgres: Postgres, database: str) -> None:
    with scraped(postgres, **{CANDIDATE: database}) as (prometheus, (candidate,)):
        assert await candidate.send(30, "/api/v1/loans") == {200: 30}
        break_loans(postgres, database)
        assert await candidate.send(1, "/api/v1/loans") == {500: 1}
        found = await judged(built_in(prometheus))

    assert found.state is State.FAILED, found
    assert "error-ratio: 0.03" in found.message


async def test_a_candidate_that_is_slower_fails(postgres: Postgres, database: str) -> None:
    """As one does whose query lacks an index: each read of the categories takes the database more than a second."""
    with scraped(postgres, **{CANDIDATE: database}) as (prometheus, (candidate,)):
        postgres.execute("INSERT INTO categories (name) VALUES ('Tools')", database=database)
        postgres.execute(
            "ALTER TABLE categories ENABLE ROW LEVEL SECURITY;"
            "CREATE POLICY slow ON categories USING ((SELECT true FROM pg_sleep(1.2)))",
            database=database,
        )
        assert await candidate.send(8, "/api/v1/categories") == {200: 8}
        found = await judged(built_in(prometheus))

    assert found.state is State.FAILED, found
    assert found.message.startswith("Failed: p99: ")
    assert "error-ratio" not in found.message


async def test_without_a_request_but_probes_nothing_is_clear(postgres: Postgres, database: str) -> None:
    with scraped(postgres, **{CANDIDATE: database}) as (prometheus, (candidate,)):
        await candidate.counted(1, "/readyz")
        await candidate.counted(1, "/metrics")
        found = await judged(built_in(prometheus))

    assert found.state is State.UNCLEAR, found
    assert found.message == (
        "Unclear: error-ratio: no value (good: at most 0.01), 0 of 3 good, 2 unclear in a row (1 allowed); "
        "p99: no value (good: at most 1), 0 of 3 good, 2 unclear in a row (1 allowed)."
    )


async def test_when_requests_have_ended_there_is_no_answer_until_others_come(postgres: Postgres, database: str) -> None:
    with scraped(postgres, **{CANDIDATE: database}) as (prometheus, (candidate,)):
        analysis = built_in(prometheus, range="3s")

        async def values() -> list[asking.Answer]:
            found = [
                await ask(prometheus, rendered(metric, APP, analysis, STABLE, CANDIDATE)) for metric in analysis.metrics
            ]
            for answer in found:
                assert isinstance(answer, tuple), answer
                assert not any(map(math.isnan, answer))
            return found

        async def has_ended() -> bool:
            return await values() == [(), ()]

        async def goes_on() -> bool:
            errors, p99 = await values()
            return errors == (0.0,) and p99 != ()

        await candidate.send(30, "/api/v1/loans")
        await soon(has_ended)
        await asyncio.gather(soon(goes_on), candidate.send(30, "/api/v1/loans"))


async def test_while_prometheus_is_away_nothing_is_clear() -> None:
    with running_prometheus() as prometheus:
        prometheus.stop()
        found = await judged(built_in(prometheus))

    assert found.state is State.UNCLEAR, found
    address = prometheus.url.removeprefix("http://")
    assert found.message.startswith(f"Unclear: error-ratio: Prometheus at {address} can't be reached: ")


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("0.25", (0.25,)),
        ("vector(1)", (1.0,)),
        ("vector(1) / 0", (math.inf,)),
        ('label_replace(vector(1), "a", "b", "", "") or vector(2)', (1.0, 2.0)),
        ("absent(vector(1))", ()),
        ("up[1m]", "the query gives a matrix, and must give a scalar or an instant vector"),
        ("'up'", "the query gives a string, and must give a scalar or an instant vector"),
        (
            "sum(",
            'Prometheus refuses the query: invalid parameter "query": 1:5: parse error: unclosed left parenthesis',
        ),
    ],
)
async def test_prometheus_speaks_as_it_is_understood(prometheus: Prometheus, query: str, answer: asking.Answer) -> None:
    assert await ask(prometheus, query) == answer


async def test_prometheus_says_not_a_number_and_no_value_is_made_of_it(prometheus: Prometheus) -> None:
    answer = await ask(prometheus, "vector(0) / 0")
    (tally,) = await asking.measure(
        Analysis(prometheus.url, (metric := Metric("m", "vector(0) / 0", good_max=1),)),
        APP,
        (metric,),
        (),
        "",
        CANDIDATE,
        datetime.now(UTC),
    )

    assert isinstance(answer, tuple)
    assert [math.isnan(value) for value in answer] == [True]
    assert (tally.unclear, tally.said) == (1, "no value")
