"""A sample of `make chaos`: wherever the operator dies, the end is the same. docs/chaos.md has the latest whole run."""

import random

from tests.cluster.chaos.matrix import Lane
from tests.cluster.chaos.process import ALWAYS
from tests.cluster.chaos.report import command
from tests.cluster.chaos.scenarios import SCENARIOS
from tests.cluster.cluster import Cluster

POINTS = 2


def test_an_operator_that_dies_at_any_of_its_calls_ends_all_the_same(cluster: Cluster, chance: random.Random) -> None:
    lane = Lane(cluster)
    try:
        scenario = chance.choice(SCENARIOS)
        for death in (*chance.sample(lane.undisturbed(scenario).deaths, POINTS), ALWAYS):
            outcome = lane.killed(scenario, death)
            print(f"{scenario.name}, {death}: {outcome.deaths} deaths, {outcome.seconds:.0f} s")
            assert not outcome.problem, f"{command(outcome)}\n{outcome.problem}"
        assert outcome.deaths, "an operator that was to die at every write did not"
    finally:
        lane.close()
