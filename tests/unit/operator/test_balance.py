"""How pods are shared out between releases in the next moment."""

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st
from inventory_operator.counts import amounts, balance, bearable, candidate_share, stable_share
from inventory_operator.model import Deployment, Record, Stage, Strategy

from .world import START, an_app

AMOUNTS = st.integers(0, 4) | st.integers(0, 100).map("{}%".format)
COUNTS = st.tuples(st.integers(0, 6), st.integers(0, 6))
STAGES = st.sampled_from([Stage.PROMOTED, Stage.LEFT, Stage.FAILED])


def a_deployment(name: str, replicas: int, ready: int, stage: Stage) -> Deployment:
    record = Record(len(name), stage, START, "a:1")
    return Deployment(f"inventory-{name}", name, record, replicas, replicas, ready, True, True, False, "1")


@given(st.integers(0, 6), AMOUNTS, AMOUNTS, COUNTS, st.lists(st.tuples(COUNTS, STAGES), max_size=3))
@example(3, 1, 0, (0, 3), [((3, 1), Stage.LEFT), ((1, 0), Stage.FAILED)])
def test_ready_pods_never_fall_below_and_all_pods_never_rise_above_what_is_allowed(
    replicas: int,
    surge: int | str,
    unavailable: int | str,
    kept: tuple[int, int],
    rest: list[tuple[tuple[int, int], Stage]],
) -> None:
    app = replace(an_app(), replicas=replicas, strategy=Strategy("rolling", surge, unavailable))
    keep = a_deployment("keep", *kept, Stage.ROLLING)
    others = [a_deployment("x" * (number + 1), *counts, stage) for number, (counts, stage) in enumerate(rest)]
    wanted = balance(app, keep, others)
    everyone = [keep, *others]
    most_surge, most_unavailable = amounts(app)
    before = sum(d.serving for d in everyone)
    after = sum(min(d.serving, wanted[d.release]) for d in everyone)
    # Where `replicas` itself shrank, the pods above it go whatever their release.
    assert after >= min(replicas - most_unavailable, before)
    # Pods that aren't ready may be back in a moment: they go only as others are ready in their place.
    hoping = [d for d in others if d.record.stage is not Stage.FAILED]
    left = keep.serving + sum(wanted[d.release] for d in others)
    hoped = sum(d.replicas for d in hoping) + sum(d.serving for d in others if d not in hoping)
    assert left >= min(replicas - most_unavailable, keep.serving + hoped)
    assert sum(wanted.values()) <= max(replicas + most_surge, sum(d.replicas for d in everyone))
    assert wanted["keep"] <= replicas
    assert all(wanted[d.release] <= d.replicas for d in others)


@given(st.integers(0, 6), AMOUNTS, AMOUNTS)
def test_a_roll_that_goes_well_ends(replicas: int, surge: int | str, unavailable: int | str) -> None:
    app = replace(an_app(), replicas=replicas, strategy=Strategy("rolling", surge, unavailable))
    counts = {"keep": 0, "x": replicas}
    for _ in range(2 * replicas + 2):
        keep = a_deployment("keep", counts["keep"], counts["keep"], Stage.ROLLING)
        counts = balance(app, keep, [a_deployment("x", counts["x"], counts["x"], Stage.PROMOTED)])
    assert counts == {"keep": replicas, "x": 0}


SPEEDS = st.tuples(AMOUNTS, AMOUNTS)
WEIGHTS = st.integers(0, 100)


@given(st.integers(0, 6), SPEEDS, WEIGHTS, COUNTS, COUNTS, st.lists(st.tuples(COUNTS, STAGES), max_size=2))
def test_a_weight_leaves_the_stable_release_its_share(
    replicas: int,
    speeds: tuple[int | str, int | str],
    weight: int,
    kept: tuple[int, int],
    serving: tuple[int, int],
    rest: list[tuple[tuple[int, int], Stage]],
) -> None:
    app = replace(an_app(), replicas=replicas, strategy=Strategy("canary", *speeds))
    keep = a_deployment("keep", *kept, Stage.ROLLING)
    stable = a_deployment("stable-release", *serving, Stage.PROMOTED)
    left = [(counts, Stage.LEFT if stage is Stage.PROMOTED else stage) for counts, stage in rest]
    others = [a_deployment("x" * (number + 1), *counts, stage) for number, (counts, stage) in enumerate(left)]
    everyone = [keep, stable, *others]
    wanted = balance(app, keep, [stable, *others], weight)
    surge, unavailable = amounts(app)
    ready = sum(d.serving for d in everyone)
    assert sum(min(d.serving, wanted[d.release]) for d in everyone) >= min(replicas - unavailable, ready)
    assert sum(wanted.values()) <= max(replicas + surge, sum(d.replicas for d in everyone))
    share = stable_share(weight, replicas) - unavailable
    assert min(stable.serving, wanted[stable.release]) >= min(share, stable.serving)
    assert all(wanted[d.release] <= d.replicas for d in others)


@given(st.integers(1, 6), SPEEDS, st.lists(WEIGHTS, max_size=4).map(sorted))
def test_steps_that_go_well_end_each_with_their_share(
    replicas: int, speeds: tuple[int | str, int | str], weights: list[int]
) -> None:
    app = replace(an_app(), replicas=replicas, strategy=Strategy("canary", *speeds))
    counts = {"keep": 0, "x": replicas}
    for weight in (*weights, 100):
        for _ in range(2 * replicas + 2):
            keep = a_deployment("keep", counts["keep"], counts["keep"], Stage.ROLLING)
            counts = balance(app, keep, [a_deployment("x", counts["x"], counts["x"], Stage.PROMOTED)], weight)
        goal = replicas if weight == 100 else candidate_share(weight, replicas)
        assert counts["keep"] == goal
        assert counts["x"] >= stable_share(weight, replicas) - amounts(app)[1]
    assert counts == {"keep": replicas, "x": 0}


@given(st.integers(1, 9), AMOUNTS, st.integers(0, 9), st.integers(0, 100))
def test_pods_bear_a_share_of_the_requests_as_far_as_they_suffice_for_it(
    replicas: int, unavailable: int | str, ready: int, weight: int
) -> None:
    app = replace(an_app(), replicas=replicas, strategy=Strategy("canary", 1, unavailable))
    suffice = ready + amounts(app)[1] >= stable_share(100 - weight, replicas)
    assert (bearable(app, ready) >= weight) is (weight == 0 or (ready > 0 and suffice))
