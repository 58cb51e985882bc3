"""Asks Prometheus, or whatever speaks its HTTP API, how a candidate is doing."""

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

import aiohttp
from yarl import URL

from .analysis import QueryError, measured, rendered, tally_of, worst
from .model import Analysis, App, Metric, Tally

SECONDS = 5.0
BYTES = 262_144
CHARACTERS = 200
"""Of what Prometheus says of an error."""

Answer = tuple[float, ...] | str
"""The values of all series, or in one sentence why there are none to be had."""


async def measure(
    analysis: Analysis,
    app: App,
    metrics: Iterable[Metric],
    tallies: Sequence[Tally],
    stable: str,
    candidate: str,
    now: datetime,
) -> tuple[Tally, ...]:
    """The tallies of all metrics of the analysis, with one more answer each for `metrics`, which are asked at once.

    `stable` and `candidate` are hashes of releases, `stable` empty without one. It raises nothing: what can't be told
    is an answer too, and it takes no longer than one request may.
    """
    asked = {metric.name for metric in metrics}

    async def one(session: aiohttp.ClientSession, metric: Metric) -> Tally:
        tally = tally_of(metric, tallies)
        if metric.name not in asked:
            return tally
        try:
            answer = await ask(session, analysis.address, rendered(metric, app, analysis, stable, candidate))
        except QueryError as error:
            answer = str(error)
        return measured(tally, metric, answer if isinstance(answer, str) else worst(metric, answer), now)

    async with client() as session:
        return tuple(await asyncio.gather(*(one(session, metric) for metric in analysis.metrics)))


def client() -> aiohttp.ClientSession:
    """Of one use. Nothing is unpacked: a small answer could become a large one."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def ask(session: aiohttp.ClientSession, address: str, query: str) -> Answer:
    """The values of the query now; none if nothing answers to it.

    The address is somebody's text, and so is what is found there: of that, no more than a short error in Prometheus'
    own form is passed on.
    """
    try:
        url = URL(address)
        where = url.host_port_subcomponent
        if url.scheme not in ("http", "https") or not where:
            return "the address of Prometheus must begin with http:// or https://, and name a host"
        form = {"query": query, "timeout": f"{SECONDS:g}s"}
        async with session.post(url / "api/v1/query", data=form, allow_redirects=False) as response:
            body = await _bounded(response)
    except TimeoutError:
        return f"Prometheus at {where} did not answer within {SECONDS:g} s"
    except aiohttp.ClientConnectorError as error:
        return f"Prometheus at {where} can't be reached: {_brief(error.strerror or str(error))}"
    except (aiohttp.ClientError, OSError) as error:
        return f"Prometheus at {where} broke off: {_brief(str(error) or type(error).__name__)}"
    except ValueError:
        return "the address of Prometheus is no URL"
    if body is None:
        return f"Prometheus at {where} answers with more than {BYTES} bytes: the query has too many series"
    if 300 <= response.status < 400:
        return f"{where} answers with a redirect (HTTP {response.status}), which is not followed"
    return _parsed(body, response.status, where)


async def _bounded(response: aiohttp.ClientResponse) -> bytes | None:
    """The body; None if it is too long."""
    try:
        await response.content.readexactly(BYTES)
    except asyncio.IncompleteReadError as whole:
        return whole.partial
    return None


def _parsed(body: bytes, status: int, where: str) -> Answer:
    """https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries"""
    try:
        match json.loads(body):
            case {"status": "error", "error": str(said)}:
                return f"Prometheus refuses the query: {_brief(said)}"
            case {"status": "success", "data": {"resultType": "scalar", "result": [_, str(value)]}} if status == 200:
                return (float(value),)
            case {"status": "success", "data": {"resultType": "vector", "result": list(series)}} if status == 200:
                return tuple(_value(each) for each in series)
            case {"status": "success", "data": {"resultType": ("matrix" | "string") as kind}} if status == 200:
                return f"the query gives a {kind}, and must give a scalar or an instant vector"
    except QueryError as error:
        return str(error)
    except (ValueError, RecursionError):
        pass
    return f"what answers at {where} is not Prometheus (HTTP {status})"


def _value(series: object) -> float:
    """Raises QueryError for a native histogram, ValueError for what Prometheus would not say."""
    match series:
        case {"value": [_, str(value)]}:
            return float(value)
        case {"histogram": _}:
            raise QueryError("the query gives histograms, and must give numbers")
    raise ValueError("neither value nor histogram")


def _brief(text: str) -> str:
    """One short line of it."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()[:CHARACTERS].rstrip(". ")
