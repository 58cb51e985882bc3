"""Beside Argo Rollouts and bare Deployments, on the same cluster, in turns."""

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.operator import fleet
from tests.benchmarks.operator.fleet import Size, named
from tests.benchmarks.operator.objects import APP, DEPLOYMENT, MIGRATING_APP, ROLLOUT, Kind
from tests.benchmarks.operator.operators import Figures, Operator
from tests.benchmarks.operator.stage import Bench, Lines
from tests.benchmarks.operator.watching import Seen
from tests.benchmarks.ratios import in_turns, ratio

_BURST_ROUNDS = 3
_BURST_SECONDS = 300
_AFTER_SECONDS = 2
"""What an operator does just after a release is complete belongs to the release."""


@dataclass(frozen=True)
class _Rivals:
    bench: Bench
    our: Operator
    argo: Operator
    apps: Seen
    rollouts: Seen
    deployments: Seen


def beside(bench: Bench) -> Lines:
    """Fleets of both, growing together: releases, bursts, memory; at the end nothing for a while, and a restart."""
    ours: dict[int, Size] = {}
    theirs: dict[int, Size] = {}
    with contextlib.ExitStack() as stack:
        our = stack.enter_context(bench.our_operator())
        argo = stack.enter_context(bench.argo_rollouts())
        seen = (stack.enter_context(bench.seen(kind)) for kind in (APP, ROLLOUT, DEPLOYMENT))
        rivals = _Rivals(bench, our, argo, *seen)
        yield f"at rest, without an app: {our.name} {our.memory():.0f} MiB, {argo.name} {argo.memory():.0f} MiB", True
        bench.make(DEPLOYMENT, [named(DEPLOYMENT, number) for number in range(bench.burst)], 1, rivals.deployments)
        bench.make(MIGRATING_APP, ["migrating"], 1, rivals.apps)
        for before, size in zip([0, *bench.sizes], bench.sizes, strict=False):
            ours[size] = fleet.grow(bench, our, APP, rivals.apps, range(before, size))
            theirs[size] = fleet.grow(bench, argo, ROLLOUT, rivals.rollouts, range(before, size))
            yield f"{size:>6,} apps, {our.name}: {ours[size]}", True
            yield f"{size:>6,} apps, {argo.name}: {theirs[size]}", True
            yield from _single_releases(rivals, size)
            if size >= bench.burst:
                yield from _bursts(rivals, size)
        yield from fleet.linear(our.name, ours, judged=True)
        yield from fleet.linear(argo.name, theirs, judged=False)
        yield from _memory(ours, theirs)
        yield from fleet.idle(bench, bench.sizes[-1], our, argo)
        yield from fleet.restart(bench.sizes[-1], our, fleet.RESTART_GOAL_SECONDS)
        yield from fleet.restart(bench.sizes[-1], argo)


def _single_releases(rivals: _Rivals, size: int) -> Lines:
    bench, counted = rivals.bench, dict[str, list[Figures]]()

    def one(kind: Kind, name: str, seen: Seen, operator: Operator | None) -> Callable[[int], float]:
        def measure(_: int) -> float:
            before = operator.figures() if operator else None
            taken = bench.release(kind, [name], seen)
            time.sleep(_AFTER_SECONDS)
            if operator and before:
                counted.setdefault(kind.name, []).append(operator.figures().since(before))
            return taken

        return measure

    ours, theirs, bare, migrating = in_turns(
        bench.rounds,
        one(APP, named(APP, 0), rivals.apps, rivals.our),
        one(ROLLOUT, named(ROLLOUT, 0), rivals.rollouts, rivals.argo),
        one(DEPLOYMENT, named(DEPLOYMENT, 0), rivals.deployments, None),
        one(MIGRATING_APP, "migrating", rivals.apps, rivals.our),
    )
    median = statistics.median
    against, more = ratio(ours, theirs), median(ours) - median(bare)
    line = f"{size:>6,} apps, a release / Argo's: {against} of {median(theirs):.2f} s, at {median(ours):.2f} s"
    yield f"{line} (goal: at most 1)", against.value <= 1
    line = f"{size:>6,} apps, a release beside a bare Deployment's {median(bare):.2f} s: {more:+.2f} s"
    yield f"{line} (goal: at most +0.5)", more <= 0.5
    line = f"{size:>6,} apps, a release whose expand Job has nothing to do: {median(migrating):.2f} s"
    yield line, True
    for name, found in counted.items():
        reads, writes = median(each.reads for each in found), median(each.writes for each in found)
        yield f"{size:>6,} apps, requests for a release, {name}: {reads:.0f} reads, {writes:.0f} writes", True


def _bursts(rivals: _Rivals, size: int) -> Lines:
    bench = rivals.bench
    before = [(operator, operator.figures(), operator.cpu()) for operator in (rivals.our, rivals.argo)]

    def many(kind: Kind, seen: Seen) -> Callable[[int], float]:
        names = [named(kind, number) for number in range(bench.burst)]
        return lambda _: bench.release(kind, names, seen, _BURST_SECONDS)

    ours, theirs, bare = in_turns(
        _BURST_ROUNDS,
        many(APP, rivals.apps),
        many(ROLLOUT, rivals.rollouts),
        many(DEPLOYMENT, rivals.deployments),
    )
    median = statistics.median
    line = f"{size:>6,} apps, {bench.burst} releases at once / Argo's: {ratio(ours, theirs)} of {median(theirs):.1f} s"
    yield f"{line}, at {median(ours):.1f} s; bare Deployments {median(bare):.1f} s", True
    for operator, figures, cpu in before:
        did = operator.figures().since(figures)
        used = 1000 * (operator.cpu() - cpu) / (_BURST_ROUNDS * bench.burst)
        half, most = (1000 * did.quantile(share) for share in (0.5, 0.99))
        line = f"{size:>6,} apps, {operator.name}, of these releases: {used:.0f} ms of CPU each"
        yield f"{line}, {did.passes:,.0f} passes, p50 {half:.0f} ms, p99 {most:.0f} ms", True


def _memory(ours: dict[int, Size], theirs: dict[int, Size]) -> Lines:
    most = max(ours)
    share = ours[most].memory / theirs[most].memory
    line = f"{most:>6,} apps, memory / Argo's: {share:.2f} of {theirs[most].memory:.0f} MiB"
    yield f"{line}, at {ours[most].memory:.0f} MiB (goal: at most 0.1)", share <= 0.1
    if len(ours) > 1:
        our, their = fleet.memory_for_each(ours), fleet.memory_for_each(theirs)
        line = f"{most:>6,} apps, memory for each / Argo's: {our / their:.2f} of {their:.0f} KiB, at {our:.0f} KiB"
        yield f"{line} (goal: at most 0.1)", our / their <= 0.1
