"""What an operator needs for a fleet: to bring it up, to keep it while nothing happens, and to find it at a start."""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.operator.objects import APP, DEPLOYMENT, Kind
from tests.benchmarks.operator.operators import Operator
from tests.benchmarks.operator.stage import Bench, Lines
from tests.benchmarks.operator.watching import Seen

_SETTLE_SECONDS = 15
"""For what comes after the last app is complete; an app at rest is looked at far later."""
_REST_SECONDS = 900
"""The cluster's own controllers tell of ten thousand new objects for minutes."""
_GROWTH_GOAL = 1.5
"""More would not be by chance: an app may cost as much in a large fleet as in a small one."""
RESTART_GOAL_SECONDS = 3.0


@dataclass(frozen=True)
class Size:
    """An operator whose fleet has grown and come to rest."""

    made: int
    seconds: float
    cpu: float
    memory: float
    peak: float

    def __str__(self) -> str:
        each = f"{1000 * self.seconds / self.made:.0f} ms and {1000 * self.cpu / self.made:.0f} ms of CPU for each"
        return f"{self.memory:.0f} MiB (at most {self.peak:.0f}); {self.made:,} more took {each}"


def grow(bench: Bench, operator: Operator, kind: Kind, seen: Seen, numbers: Sequence[int], replicas: int = 1) -> Size:
    cpu = operator.cpu()
    seconds = bench.make(kind, [named(kind, number) for number in numbers], replicas, seen)
    cpu = operator.cpu() - cpu
    time.sleep(_SETTLE_SECONDS)
    return Size(len(numbers), seconds, cpu, operator.memory(), operator.peak())


def named(kind: Kind, number: int) -> str:
    return f"{kind.name.lower()}-{number}"


def memory_for_each(found: Mapping[int, Size]) -> float:
    """KiB for each app of the largest fleet that the one before did not have: the first ones warm everything up."""
    *_, less, most = sorted(found)
    return (found[most].memory - found[less].memory) * 1024 / (most - less)


def linear(name: str, found: Mapping[int, Size], *, judged: bool) -> Lines:
    """The last apps cost no more each than those before them."""
    for (_, before), (size, after) in itertools.pairwise(sorted(found.items())):
        if before.made < 50:
            continue  # too few to say what one costs
        slower = after.seconds / after.made / (before.seconds / before.made)
        dearer = after.cpu / after.made / (before.cpu / before.made)
        line = f"{size:>6,} apps, {name}: each took {slower:.2f} times the time"
        line += f" and {dearer:.2f} times the CPU of those before"
        yield line + (f" (goal: {_GROWTH_GOAL})" if judged else ""), max(slower, dearer) <= _GROWTH_GOAL or not judged


def idle(bench: Bench, size: int, our: Operator, *others: Operator) -> Lines:
    """Nothing happens, and our operator writes nothing."""
    versions: set[tuple[str, str]] = set()
    deadline = time.monotonic() + _REST_SECONDS
    while (present := _versions(bench)) != versions and time.monotonic() < deadline:
        versions = present
        time.sleep(_SETTLE_SECONDS)
    before = [(operator.figures(), operator.cpu()) for operator in (our, *others)]
    time.sleep(bench.idle)
    changed = len(_versions(bench) ^ versions)
    for operator, (figures, cpu) in zip((our, *others), before, strict=True):
        did, used = operator.figures().since(figures), operator.cpu() - cpu
        line = f"{size:>6,} apps, {bench.idle} s of nothing, {operator.name}: {did.writes} writes, {did.reads:,} reads"
        line += f", {did.passes:,.0f} passes, {100 * used / bench.idle:.1f} % of a core"
        if operator is our:
            yield f"{line}; {changed} objects have changed (goal: no write)", not (did.writes or changed)
        else:
            yield line, True


def _versions(bench: Bench) -> set[tuple[str, str]]:
    """Of the apps and all that the operator has made for them."""
    paths = (APP.everywhere, DEPLOYMENT.everywhere, "/api/v1/services")
    found = (each["metadata"] for path in paths for each in bench.kube.items(path))
    return {(meta["uid"], meta["resourceVersion"]) for meta in found if meta["namespace"] in bench.namespaces}


def restart(size: int, operator: Operator, goal: float = float("inf")) -> Lines:
    """Once after it has done nothing for a while, and once more right after: caches may be cold the first time."""
    judged = f" (goal: {goal:g} s to the first)" if goal < float("inf") else ""
    for which in ("restart", "once more, restart"):
        operator.stop()
        began = time.monotonic()
        operator.start()
        operator.until(lambda: operator.passes_yet() >= 1)
        first = time.monotonic() - began
        operator.until(operator.is_ready)
        ready = time.monotonic() - began
        line = f"{size:>6,} apps, {which} of {operator.name}: first pass {first:.2f} s, ready after {ready:.2f} s"
        if which == "restart":
            operator.until(lambda: operator.figures().passes >= size)
            line += f", {size:,} passes {time.monotonic() - began:.1f} s, {operator.peak():.0f} MiB at most"
        yield line + judged, first <= goal
