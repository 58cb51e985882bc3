"""A sample of `make chaos`: wherever the operator dies, the end is the same. docs/chaos.md has the latest whole run."""

import random
from itertools import chain

from tests.cluster.chaos.matrix import Lane, come_to
from tests.cluster.chaos.process import ALWAYS
from tests.cluster.chaos.report import command
from tests.cluster.chaos.scenarios import SCENARIOS
from tests.cluster.cluster import Cluster

POINTS = 2
TRIES = 4
"""For each of them: whether the operator comes to a call may depend on when pods get ready."""


def test_an_operator_that_dies_at_any_of_its_calls_ends_all_the_same(cluster: Cluster, chance: random.Random) -> None:
    lane = Lane(cluster)
    try:
        scenario = chance.choice(SCENARIOS)
        deaths = lane.undisturbed(scenario).deaths
        by_chance = chance.sample(deaths, len(deaths))
        sample = come_to(by_chance, lambda death: lane.killed(scenario, death), POINTS, TRIES)
        at_every_write = come_to([ALWAYS], lambda death: lane.killed(scenario, death), 1, 1)
        for outcome in chain(sample, at_every_write):
            print(f"{scenario.name}, {outcome.death}: {outcome.deaths} deaths, {outcome.seconds:.0f} s")
            assert not outcome.problem, f"{command(outcome)}\n{outcome.problem}"
    finally:
        lane.close()
