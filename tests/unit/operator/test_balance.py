"""How pods are shared out between releases in the next moment."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from inventory_operator.counts import amounts, balance
from inventory_operator.model import Deployment, Record, Stage, Strategy

from .world import START, an_app

AMOUNTS = st.integers(0, 4) | st.integers(0, 100).map("{}%".format)
COUNTS = st.tuples(st.integers(0, 6), st.integers(0, 6))
STAGES = st.sampled_from([Stage.PROMOTED, Stage.LEFT, Stage.FAILED])


def a_deployment(name: str, replicas: int, ready: int, stage: Stage) -> Deployment:
    record = Record(len(name), stage, START, "a:1")
    return Deployment(f"inventory-{name}", name, record, replicas, replicas, ready, True, False, "1")


@given(st.integers(0, 6), AMOUNTS, AMOUNTS, COUNTS, st.lists(st.tuples(COUNTS, STAGES), max_size=3))
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
