"""What answers mean: for a metric one by one, and for a candidate all together."""

import math
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from inventory_operator import analysis
from inventory_operator.analysis import (
    QueryError,
    State,
    builtin_metrics,
    due_metrics,
    measured,
    next_due,
    objection,
    rendered,
    tally_of,
    verdict,
    worst,
)
from inventory_operator.model import Analysis, Metric, Tally

from .world import START, an_app

ERRORS = Metric("errors", "q", good_max=0.01)
SUCCESSES = Metric("successes", "q", good_min=0.99)
BOTH = Metric("both", "q", good_max=1, bad_min=2)
Given = float | str | None


def tally(metric: Metric, *answers: Given) -> Tally:
    found = Tally(metric.name)
    for number, answer in enumerate(answers):
        found = measured(found, metric, answer, START + timedelta(seconds=number))
    return found


def state(metric: Metric, *answers: Given) -> State:
    return verdict(Analysis("http://p", (metric,)), [tally(metric, *answers)]).state


# what one answer means


@pytest.mark.parametrize(
    ("metric", "answer", "counts"),
    [
        (ERRORS, 0.0, (1, 0, 0)),
        (ERRORS, 0.01, (1, 0, 0)),
        (ERRORS, 0.0101, (0, 1, 0)),
        (SUCCESSES, 0.99, (1, 0, 0)),
        (SUCCESSES, 0.9, (0, 1, 0)),
        (BOTH, 1.0, (1, 0, 0)),
        (BOTH, 1.5, (0, 0, 1)),
        (BOTH, 2.0, (0, 1, 0)),
        (Metric("between", "q", good_min=1, good_max=2), 2.5, (0, 1, 0)),
        (Metric("only bad", "q", bad_min=2), 1.9, (1, 0, 0)),
        (Metric("only bad", "q", bad_min=2), 2.0, (0, 1, 0)),
        (Metric("bad between", "q", bad_min=2, bad_max=3), 3.5, (1, 0, 0)),
        (Metric("bad is stronger", "q", good_max=5, bad_min=4), 4.5, (0, 1, 0)),
        (ERRORS, "it does not answer", (0, 0, 1)),
        (replace(ERRORS, empty="Success"), "it does not answer", (0, 0, 1)),
        (ERRORS, None, (0, 0, 1)),
        (ERRORS, math.nan, (0, 0, 1)),
        (replace(ERRORS, empty="Success"), None, (1, 0, 0)),
        (replace(ERRORS, empty="Success"), math.nan, (1, 0, 0)),
        (replace(ERRORS, empty="Failure"), None, (0, 1, 0)),
        (ERRORS, math.inf, (0, 1, 0)),
        (ERRORS, -math.inf, (0, 0, 1)),
        (SUCCESSES, math.inf, (0, 0, 1)),
        (SUCCESSES, -math.inf, (0, 1, 0)),
        (BOTH, math.inf, (0, 1, 0)),
    ],
)
def test_an_answer_is_good_bad_or_unclear(metric: Metric, answer: Given, counts: tuple[int, int, int]) -> None:
    found = tally(metric, answer)

    assert (found.good, found.bad, found.unclear) == counts


def test_what_was_said_last_is_kept_and_is_short() -> None:
    assert tally(ERRORS, 0.5, 0.02).said == "0.02"
    assert tally(ERRORS, None).said == "no value"
    assert len(tally(ERRORS, "x" * 9_999).said) == analysis.SAID_CHARACTERS


def test_unclear_answers_count_in_a_row() -> None:
    assert tally(replace(ERRORS, failure_limit=1), None, "away", 0.0, None).unclear == 1
    assert tally(replace(ERRORS, failure_limit=1), None, "away", 0.5).unclear == 2, "a bad one frees nothing"


@pytest.mark.parametrize(
    ("metric", "values", "counts"),
    [
        (ERRORS, (), None),
        (ERRORS, (0.5,), 0.5),
        (ERRORS, (0.0, 0.5, 0.2), 0.5),
        (ERRORS, (0.001, 0.002), 0.002),
        (SUCCESSES, (1.0, 0.2, 0.5), 0.2),
        (SUCCESSES, (0.995, 0.991), 0.991),
        (ERRORS, (math.nan, 0.001), 0.001),
        (ERRORS, (math.nan, math.nan), None),
        (ERRORS, (-math.inf, 0.001), -math.inf),
        (BOTH, (0.5, 1.5, 2.5), 2.5),
        (BOTH, (0.5, 1.5), 1.5),
        (Metric("between", "q", good_min=1, good_max=2), (0.5, 1.9), 0.5),
        (Metric("few is bad", "q", bad_max=1), (5.0, 0.5), 0.5),
    ],
)
def test_of_several_series_the_worst_one_counts(metric: Metric, values: tuple[float, ...], counts: float) -> None:
    assert worst(metric, values) == counts


bounds = st.none() | st.floats(allow_nan=False)
metrics = st.builds(
    Metric,
    st.just("m"),
    st.just("q"),
    bounds,
    bounds,
    bounds,
    bounds,
    st.just(10),
    st.integers(1, 4),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from(["Inconclusive", "Success", "Failure"]),
)
answers = st.none() | st.floats() | st.just("it does not answer")


@given(metrics, st.lists(st.floats(), min_size=1))
def test_no_series_is_worse_than_the_one_that_counts(metric: Metric, values: list[float]) -> None:
    def rank(value: float | None) -> tuple[int, int]:
        found = tally(metric, value)
        return (-found.bad, found.good)

    counts = worst(metric, values)

    assert all(rank(counts) <= rank(value) for value in values if not math.isnan(value))
    assert counts is None or counts in values


# the verdict


def test_a_candidate_passes_when_each_metric_was_good_as_often_as_it_says() -> None:
    asked = Analysis("http://p", (ERRORS, replace(SUCCESSES, count=1)))
    twice, thrice = tally(ERRORS, 0.0, 0.0), tally(ERRORS, 0.0, 0.0, 0.004)
    successes = tally(SUCCESSES, 1.0)

    running = verdict(asked, [twice, successes])
    passed = verdict(asked, [thrice, successes])

    assert (running.state, running.message) == (
        State.RUNNING,
        "Measuring: errors: 0 (good: at most 0.01), 2 of 3 good.",
    )
    assert (passed.state, passed.message) == (
        State.PASSED,
        "Passed: errors: 0.004 (good: at most 0.01), 3 of 3 good; successes: 1 (good: at least 0.99), 1 of 1 good.",
    )


def test_one_bad_answer_too_many_fails_it_whatever_the_others_say() -> None:
    lenient = replace(ERRORS, failure_limit=1)
    asked = Analysis("http://p", (SUCCESSES, lenient))
    successes = tally(SUCCESSES, None, None, None, None)

    assert state(lenient, 0.5, 0.0, 0.0, 0.0) is State.PASSED
    assert verdict(asked, [successes, tally(lenient, 0.5, 0.0, 0.25)]) == analysis.Verdict(
        State.FAILED, "Failed: errors: 0.25 (good: at most 0.01), 1 of 3 good, 2 bad (1 allowed)."
    )


def test_unclear_answers_beyond_the_limit_hold_it() -> None:
    assert state(ERRORS, None, None, None) is State.RUNNING
    assert verdict(
        Analysis("http://p", (BOTH,)), [tally(BOTH, 0.5, 1.5, "away", None, "Prometheus is away.")]
    ) == analysis.Verdict(
        State.UNCLEAR,
        "Unclear: both: Prometheus is away (good: at most 1, bad: at least 2), 1 of 3 good, "
        "4 unclear in a row (3 allowed).",
    )


def test_nothing_measured_is_nothing_passed() -> None:
    assert verdict(Analysis("http://p", ()), ()).state is State.UNCLEAR
    assert verdict(Analysis("http://p", (ERRORS,)), ()) == analysis.Verdict(
        State.RUNNING, "Measuring: errors: not measured yet (good: at most 0.01), 0 of 3 good."
    )
    # a tally of a metric that is no longer asked for says nothing
    assert verdict(Analysis("http://p", (ERRORS,)), [tally(SUCCESSES, 1.0, 1.0, 1.0)]).state is State.RUNNING


def test_a_sentence_about_many_metrics_names_some() -> None:
    many = tuple(replace(ERRORS, name=f"m{number}") for number in range(16))
    message = verdict(Analysis("http://p", many), ()).message

    assert "m2" in message
    assert "m3" not in message
    assert message.endswith("; and 13 more.")


RANKS = {State.FAILED: 0, State.UNCLEAR: 1, State.RUNNING: 1, State.PASSED: 2}


@given(metrics, st.lists(answers, max_size=12), answers)
@example(replace(ERRORS, failure_limit=0), [0.0, 0.0], 0.5)
def test_a_bad_answer_never_makes_it_better(metric: Metric, before: list[Given], last: Given) -> None:
    was_bad = tally(metric, last).bad == 1
    before_it, after_it = state(metric, *before), state(metric, *before, last)

    assert not was_bad or RANKS[after_it] <= RANKS[before_it]
    assert before_it is not State.FAILED or after_it is State.FAILED


@given(metrics, st.lists(answers, min_size=1, max_size=12), st.integers(0, 11), answers)
def test_a_bad_answer_instead_of_another_never_makes_it_better(
    metric: Metric, before: list[Given], place: int, bad: Given
) -> None:
    place %= len(before)
    if tally(metric, bad).bad == 0 or tally(metric, before[place]).unclear:
        return  # not bad; or one less of those that hold the release
    after = [*before[:place], bad, *before[place + 1 :]]

    assert RANKS[state(metric, *after)] <= RANKS[state(metric, *before)]


@given(metrics, st.lists(answers, max_size=12))
def test_it_passes_only_on_as_many_good_answers_as_it_asks_for(metric: Metric, given_answers: list[Given]) -> None:
    good = sum(tally(metric, answer).good for answer in given_answers)
    bad = sum(tally(metric, answer).bad for answer in given_answers)
    found = state(metric, *given_answers)

    assert (found is State.FAILED) == (bad > metric.failure_limit)
    assert found is not State.PASSED or good >= metric.count


# when


def test_a_metric_is_due_when_its_interval_is_over() -> None:
    once = tally(ERRORS, 0.0)
    later = START + timedelta(seconds=10)

    def due(tally: Tally, now: datetime) -> bool:
        return due_metrics(Analysis("http://prometheus", (ERRORS,)), (tally,), now) == (ERRORS,)

    assert due(Tally("errors"), START)
    assert not due(once, later - timedelta(milliseconds=1))
    assert due(once, later)
    assert next_due(ERRORS, once, START) == later
    assert due(once, START - timedelta(days=1)), "the clock was put back"


def test_only_what_is_due_is_asked() -> None:
    slow = replace(SUCCESSES, interval=60)
    asked = Analysis("http://p", (ERRORS, slow, BOTH))
    tallies = [tally(ERRORS, 0.0), tally(slow, 1.0)]

    assert due_metrics(asked, tallies, START + timedelta(seconds=30)) == (ERRORS, BOTH)
    assert tally_of(BOTH, tallies) == Tally("both")


# queries


def render(query: str, stable: str = "aaaaaaaaaa", candidate: str = "bbbbbbbbbb", range: str = "1m", **app: str) -> str:
    metric = Metric("m", query)
    return rendered(metric, an_app(**app), Analysis("http://p", (metric,), range), stable, candidate)


def test_placeholders_are_filled_in() -> None:
    query = 'a{n="{{namespace}}",p=~"{{app}}-{{ candidate }}-.+"}[{{range}}] / b{p=~"{{app}}-{{stable}}-.+"}[{{range}}]'

    assert render(query) == ('a{n="shop",p=~"inventory-bbbbbbbbbb-.+"}[1m] / b{p=~"inventory-aaaaaaaaaa-.+"}[1m]')
    assert render('x{p="{{stable}}"}', stable="") == 'x{p=""}'


@pytest.mark.parametrize("query", ["a{{release}}", "{{App}}", "a{{", "a{{}}", "{{app}", "{{{{app}}}}", "{{app-x}}"])
def test_a_placeholder_that_there_is_none_of_is_refused_in_a_sentence(query: str) -> None:
    with pytest.raises(QueryError, match="the query of m has"):
        render(query)
    assert "{{" in objection(Metric("m", query))


@given(
    st.sampled_from(["name", "namespace", "stable", "candidate", "range"]),
    st.text(st.sampled_from("a1-.\"'`\\{}[]|*\n\0 ä") | st.characters(), min_size=1),
)
def test_no_value_gets_out_of_its_quotes(place: str, value: str) -> None:
    query = 'a{p="{{app}} {{namespace}} {{stable}} {{candidate}}"}[{{range}}]'
    try:
        asked = render(query, **{place: value})
    except QueryError:
        return
    assert re.fullmatch(r'a\{p="[-0-9a-z ]*"\}\[[0-9a-z]+\]', asked)


@pytest.mark.parametrize("built_in", [{}, {"errorRatio": {}}, {"p99Seconds": None}])
def test_the_built_in_set_needs_no_settings(built_in: dict[str, None]) -> None:
    errors, p99 = builtin_metrics(built_in)

    assert (errors.name, errors.good_max) == ("error-ratio", 0.01)
    assert (p99.name, p99.good_max) == ("p99", 1)
    assert not objection(errors)
    assert not objection(p99)


def test_the_built_in_bounds_can_be_set() -> None:
    errors, p99 = builtin_metrics({"errorRatio": {"max": 0}, "p99Seconds": {"max": 0.25}})

    assert (errors.good_max, p99.good_max) == (0, 0.25)
