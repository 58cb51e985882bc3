"""A sample of the points at which the operator is to die holds nothing unless it dies there."""

from collections.abc import Iterable

import pytest

from tests.cluster.chaos.matrix import Outcome, come_to
from tests.cluster.chaos.process import Death

NOT_COME_TO = {"b", "c"}


def sampled(points: Iterable[str], count: int, tries: int = 3, broken: str = "") -> list[str]:
    def run(death: Death) -> Outcome:
        dies = death.said not in NOT_COME_TO and death.said != broken
        return Outcome("release", death, int(dies), 1.0, 10, problem="x" if death.said == broken else "")

    return [each.death.said for each in come_to([Death("after", said) for said in points], run, count, tries)]


def test_another_point_takes_the_place_of_one_that_the_operator_did_not_come_to() -> None:
    assert sampled("abcde", 2) == ["a", "d"]
    assert sampled("bacd", 2, tries=2) == ["a", "d"]


def test_a_run_that_went_wrong_is_told_though_nobody_died_in_it() -> None:
    assert sampled("xde", 2, broken="x") == ["x", "d"]


@pytest.mark.parametrize("points", ["abcd", "abc", "bcad"])
def test_a_sample_fails_where_the_operator_came_to_none_of_several_points(points: str) -> None:
    with pytest.raises(AssertionError, match="came to none of: after b, after c"):
        sampled(points, 2, tries=2)


def test_a_sample_fails_where_there_are_no_points() -> None:
    with pytest.raises(AssertionError):
        sampled("", 1)
