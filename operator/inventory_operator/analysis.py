"""What the answers to the queries of `spec.analysis` say of a candidate. Nothing here asks: `prometheus` does."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from .model import Analysis, App, Json, Metric, Tally

MAX_ERROR_RATIO = 0.01
MAX_P99_SECONDS = 1.0

SAID_CHARACTERS = 300
NAMED_METRICS = 3
"""Metrics that a sentence names; of more it tells how many."""

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_KNOWN = ("app", "namespace", "stable", "candidate", "range")
_NAME = re.compile(r"[-0-9a-z]*")
_RANGE = re.compile(r"([0-9]+(ms|[smhdwy]))+")


class QueryError(ValueError):
    """A query can't be asked; the text says why."""


class State(StrEnum):
    """What an analysis has come to."""

    RUNNING = "Running"
    PASSED = "Passed"
    FAILED = "Failed"
    UNCLEAR = "Unclear"


@dataclass(frozen=True)
class Verdict:
    """The state, and one sentence that names metrics, values, bounds and counts."""

    state: State
    message: str


# --- queries ------------------------------------------------------------------------------------------------------

# By the names of its pods, which every Prometheus knows that Prometheus Operator has set up; labels of releases are in
# the series only where a monitor asks for them.
_OF_CANDIDATE = 'namespace="{{namespace}}",pod=~"{{app}}-{{candidate}}-.+"'
_PROBES = "/livez|/readyz|/metrics"
# A request that is refused at once, because there are too many, has no route and took no time: it is an error, but not
# a fast answer.
_UNTIMED = f"{_PROBES}|unmatched"


def _grown(series: str) -> str:
    """By how much counters have grown within the range.

    A counter that was not there before counts from zero. `increase` alone does not see the first error of each pod and
    route: its counter begins with it.
    """
    return f"(({series} unless {series} offset {{{{range}}}}) or increase({series}[{{{{range}}}}]))"


_REQUESTS = f'http_requests_total{{{_OF_CANDIDATE},route!~"{_PROBES}"}}'
_ERRORS = f'http_requests_total{{{_OF_CANDIDATE},route!~"{_PROBES}",status=~"5.."}}'
_SECONDS = f'http_request_duration_seconds_bucket{{{_OF_CANDIDATE},route!~"{_UNTIMED}"}}'

# Without a request the answer is empty, not NaN: zero is filtered out of the divisor. A candidate that never failed has
# no series of errors.
ERROR_RATIO = f"(sum({_grown(_ERRORS)}) or vector(0)) / (sum({_grown(_REQUESTS)}) > 0)"
# A quantile of nothing is NaN, which no comparison lets through. The largest bound of a bucket, 10 s, is the most that
# it can tell.
P99_SECONDS = f"histogram_quantile(0.99, sum by (le) ({_grown(_SECONDS)})) >= 0"


def builtin_metrics(builtin: Json) -> tuple[Metric, ...]:
    """Error ratio and 99th percentile of seconds, of the requests that the candidate answered within the range.

    Probes don't count. `builtin` is `spec.analysis.builtIn`, which may set either's bound.
    """
    return (
        Metric("error-ratio", ERROR_RATIO, good_max=_bound(builtin, "errorRatio", MAX_ERROR_RATIO)),
        Metric("p99", P99_SECONDS, good_max=_bound(builtin, "p99Seconds", MAX_P99_SECONDS)),
    )


def _bound(builtin: Json, name: str, otherwise: float) -> float:
    return float((builtin.get(name) or {}).get("max", otherwise))


def rendered(metric: Metric, app: App, analysis: Analysis, stable: str, candidate: str) -> str:
    """The query with its placeholders filled in; `stable` and `candidate` are hashes, `stable` empty without one.

    Raises QueryError for a placeholder that there is none of, and for a value that could be more than a name where the
    query quotes it: what Kubernetes takes for a name can't.
    """
    values = {"app": app.name, "namespace": app.namespace, "stable": stable, "candidate": candidate}
    for name, value in values.items():
        if not _NAME.fullmatch(value):
            raise QueryError(f"the {name} is not a name that may stand in a query: {value!r}")
    if not _RANGE.fullmatch(analysis.range):
        raise QueryError(f"the range is not a duration as Prometheus has it, such as 1m: {analysis.range!r}")
    if said := objection(metric):
        raise QueryError(said)
    values["range"] = analysis.range
    return _PLACEHOLDER.sub(lambda found: values[found[1]], metric.query)


def objection(metric: Metric) -> str:
    """What is wrong with the placeholders of a query, in one sentence; empty if nothing is."""
    for found in _PLACEHOLDER.finditer(metric.query):
        if found[1] not in _KNOWN:
            known = ", ".join(f"{{{{{name}}}}}" for name in _KNOWN)
            return f"the query of {metric.name} has {found[0]}; there are only {known}"
    if "{{" in _PLACEHOLDER.sub("_", metric.query):
        return f"the query of {metric.name} has a {{{{ that begins no placeholder"
    return ""


# --- answers ------------------------------------------------------------------------------------------------------


class _Grade(IntEnum):
    BAD = 0
    UNCLEAR = 1
    GOOD = 2


_EMPTY = {"Success": _Grade.GOOD, "Failure": _Grade.BAD}


def worst(metric: Metric, values: Iterable[float]) -> float | None:
    """Of an answer with several series the value that counts; None if there is none.

    That is a bad one before an unclear one before a good one, and then the farthest from the good ones. NaN is no
    value.
    """
    falling = metric.good_max is None and metric.bad_min is None

    def rank(value: float) -> tuple[_Grade, float]:
        return _grade(metric, value), value if falling else -value

    return min((value for value in values if not math.isnan(value)), key=rank, default=None)


def measured(tally: Tally, metric: Metric, answer: float | str | None, now: datetime) -> Tally:
    """The tally with one more answer: a value, None for none (as NaN is), or why nobody could tell.

    Without a value the metric says what it means. What could not be told is always unclear.
    """
    if isinstance(answer, str):
        grade, said = _Grade.UNCLEAR, answer
    elif answer is None or math.isnan(answer):
        grade, said = _EMPTY.get(metric.empty, _Grade.UNCLEAR), "no value"
    else:
        grade, said = _grade(metric, answer), _number(answer)
    return replace(
        tally,
        good=tally.good + (grade is _Grade.GOOD),
        bad=tally.bad + (grade is _Grade.BAD),
        # A bad answer ends no row of unclear ones: it must not free what they hold.
        unclear=0 if grade is _Grade.GOOD else tally.unclear + (grade is _Grade.UNCLEAR),
        measured=now,
        said=said[:SAID_CHARACTERS],
    )


def _grade(metric: Metric, value: float) -> _Grade:
    """Bad goes before good. Infinity is never good: it comes of a division by zero."""
    has_bad = metric.bad_min is not None or metric.bad_max is not None
    if has_bad and _within(value, metric.bad_min, metric.bad_max):
        return _Grade.BAD
    if _within(value, metric.good_min, metric.good_max):
        return _Grade.UNCLEAR if math.isinf(value) else _Grade.GOOD
    return _Grade.UNCLEAR if has_bad else _Grade.BAD


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or least <= value) and (most is None or value <= most)


# --- when to ask --------------------------------------------------------------------------------------------------


def tally_of(metric: Metric, tallies: Iterable[Tally]) -> Tally:
    """What is known of the metric; an empty tally if nothing is."""
    return next((tally for tally in tallies if tally.name == metric.name), Tally(metric.name))


def next_due(metric: Metric, tally: Tally, now: datetime) -> datetime:
    """When the metric is to be measured next; not later than now if it has not been, or if the clock was put back."""
    if tally.measured is None or tally.measured > now:
        return now
    return tally.measured + timedelta(seconds=metric.interval)


def due_metrics(analysis: Analysis, tallies: Sequence[Tally], now: datetime) -> tuple[Metric, ...]:
    """Those that are to be measured now."""
    return tuple(metric for metric in analysis.metrics if next_due(metric, tally_of(metric, tallies), now) <= now)


# --- the verdict --------------------------------------------------------------------------------------------------


def verdict(analysis: Analysis, tallies: Sequence[Tally]) -> Verdict:
    """What the tallies come to: one metric that fails is enough, and all must have been good as often as they say."""
    if not analysis.metrics:
        return Verdict(State.UNCLEAR, "The analysis has no metric.")
    counted = [(metric, tally_of(metric, tallies)) for metric in analysis.metrics]
    if failed := [(metric, tally) for metric, tally in counted if tally.bad > metric.failure_limit]:
        return Verdict(State.FAILED, _sentence("Failed", failed))
    if unclear := [(metric, tally) for metric, tally in counted if tally.unclear > metric.unclear_limit]:
        return Verdict(State.UNCLEAR, _sentence("Unclear", unclear))
    if missing := [(metric, tally) for metric, tally in counted if tally.good < metric.count]:
        return Verdict(State.RUNNING, _sentence("Measuring", missing))
    return Verdict(State.PASSED, _sentence("Passed", counted))


def _sentence(begin: str, counted: Sequence[tuple[Metric, Tally]]) -> str:
    told = [_described(metric, tally) for metric, tally in counted[:NAMED_METRICS]]
    if len(counted) > NAMED_METRICS:
        told.append(f"and {len(counted) - NAMED_METRICS} more")
    return f"{begin}: {'; '.join(told)}."


def _described(metric: Metric, tally: Tally) -> str:
    """As "p99: 1.5 (good: at most 1), 2 of 3 good, 1 bad (0 allowed)"."""
    said = tally.said.rstrip(".") if tally.measured else "not measured yet"
    counts = [f"{tally.good} of {metric.count} good"]
    if tally.bad:
        counts.append(f"{tally.bad} bad ({metric.failure_limit} allowed)")
    if tally.unclear:
        counts.append(f"{tally.unclear} unclear in a row ({metric.unclear_limit} allowed)")
    return ", ".join([f"{metric.name}: {said} ({_bounds(metric)})", *counts])


def _bounds(metric: Metric) -> str:
    good, bad = _interval(metric.good_min, metric.good_max), _interval(metric.bad_min, metric.bad_max)
    if not bad:
        return f"good: {good or 'any'}"
    return f"good: {good or 'any other'}, bad: {bad}"


def _interval(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"{_number(least)} to {_number(most)}"
    if least is not None:
        return f"at least {_number(least)}"
    return f"at most {_number(most)}" if most is not None else ""


def _number(value: float) -> str:
    return f"{value:.6g}"
