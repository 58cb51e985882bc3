"""A ratio of two things that were measured in turns, with what chance may have to do with it."""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """Of the medians; 95 of 100 resamplings of the rounds lie between `low` and `high`."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio(measured: Sequence[float], baseline: Sequence[float]) -> Ratio:
    """The two sequences are of the same rounds, in order: what disturbs a round disturbs both."""
    chance = random.Random(1)
    rounds = list(zip(measured, baseline, strict=True))
    resampled = sorted(_of(chance.choices(rounds, k=len(rounds))) for _ in range(_RESAMPLES))
    return Ratio(_of(rounds), resampled[int(0.025 * _RESAMPLES)], resampled[int(0.975 * _RESAMPLES)])


def in_turns(rounds: int, *measure: Callable[[int], float]) -> list[list[float]]:
    """What each function gave in each round, given its number: one after the other, then the next round."""
    found: list[list[float]] = [[] for _ in measure]
    for number in range(rounds):
        for index in range(len(measure)):
            turn = (index + number) % len(measure)
            found[turn].append(measure[turn](number))
    return found


def _of(rounds: Sequence[tuple[float, float]]) -> float:
    return statistics.median(one for one, _ in rounds) / statistics.median(other for _, other in rounds)
