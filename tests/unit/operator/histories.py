"""Histories of an app in the model cluster: people, an autoscaler, controllers, failures, and an operator that may die.

A history is a list of acts with their arguments. Each act makes sense in any state, or does nothing, so a history that
fails can be made shorter by leaving acts out. `make simulate` drives tens of thousands by chance, each by its own seed.
What the cluster is a model of, and of what it isn't, is said in `simulation.py`.
"""

import argparse
import itertools
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from types import ModuleType
from typing import Any, TypeVar

import inventory_operator.plan
from inventory_operator.actions import Phase, Plan
from inventory_operator.counts import amounts
from inventory_operator.model import (
    Analyse,
    Analysis,
    App,
    Contract,
    Gate,
    Json,
    Metric,
    Migrations,
    Pause,
    Router,
    SetWeight,
    Stage,
    Strategy,
    Traffic,
    release_hash,
)

from .simulation import IMAGES, Cluster
from .world import an_app

INGRESS, ROUTE = Router("ingress", "i"), Router("httpRoute", "r")
BY_HEADER = Router("ingress", "i", {"header": "x-canary"})
STRATEGIES = (
    Strategy("rolling", "25%", 0),
    Strategy("rolling", 0, 1),
    Strategy("canary", steps=(Gate({}), SetWeight(25), Pause(60), Analyse(), SetWeight(50), Pause())),
    Strategy("canary", 0, 1, steps=(SetWeight(25), Pause())),
    Strategy("canary", steps=(SetWeight(0), Gate({}), SetWeight(40), Analyse()), router=INGRESS, warm=60),
    Strategy("canary", steps=(SetWeight(50), Pause()), router=INGRESS, dynamic_stable_scale=True, warm=30),
    Strategy("canary", 0, 1, steps=(SetWeight(30), SetWeight(60)), router=INGRESS, dynamic_stable_scale=True),
    Strategy("canary", steps=(SetWeight(20), Pause(30)), router=ROUTE, warm=30),
    Strategy("canary", 1, 1, steps=(SetWeight(40), Pause()), router=ROUTE, dynamic_stable_scale=True),
    Strategy("canary", steps=(SetWeight(0), Pause(), SetWeight(50)), router=BY_HEADER, warm=30),
    Strategy("blueGreen", steps=(Gate({}), Pause()), warm=60),
)
ROUTED = tuple(strategy for strategy in STRATEGIES if strategy.router)
ANALYSIS = Analysis("http://prometheus", (Metric("errors", "up", good_max=0.01, interval=10, count=2),))
ACTS_OF_A_HISTORY = 20

Act = tuple[str, tuple[Any, ...]]
NAMES = sorted(IMAGES)
ENDS = ("well", "well", "well", "failed", "waiting", "lost")
PARTS = ("deployments", "jobs", "pods", "service", "candidate_service", "traffic")
SHORT = range(1, 5)
LONG = range(1, 13)
ANY = range(6)
ANY_CALL = range(60)
"""Of those that a pass has. Where it has at most five, as nearly all have, each is as likely as the others."""


@dataclass(frozen=True)
class Pace:
    """How the cluster follows a pass: pods that get ready at most, whether those that go end, and Jobs."""

    ready: int = 100
    pods_end: bool = True
    jobs: str = "well"
    """How they end; `start`: they only get their pods; empty: not even that."""


PACES = (Pace(), Pace(), Pace(pods_end=False), Pace(1), Pace(0, pods_end=False), Pace(2, jobs="start"), Pace(jobs=""))

ACTS: dict[str, tuple[int, tuple[Sequence[Any], ...]]] = {}
"""How often each act comes, and what its arguments are drawn from."""


F = TypeVar("F", bound=Callable[..., None])


def act(often: int, *arguments: Sequence[Any]) -> Callable[[F], F]:
    def keep(method: F) -> F:
        ACTS[method.__name__] = (often, arguments)
        return method

    return keep


@dataclass(frozen=True)
class _App(App):
    """An app whose content is hashed once."""

    @cached_property
    def release(self) -> str:
        return _hashed(str(self.content["image"]))


HASHES: dict[str, str] = {}


def _hashed(image: str) -> str:
    if image not in HASHES:
        HASHES[image] = release_hash({"image": image})
    return HASHES[image]


class History:
    """One app from its first release on."""

    def __init__(
        self,
        planner: ModuleType,
        strategy: Strategy,
        replicas: int,
        soak: int | None,
        *,
        freeze: bool = False,
        migrates: bool = True,
    ) -> None:
        backup: Json | None = {"job": {}, "restoreJob": {}} if soak else None
        migrations = Migrations("owner", contract=Contract(soak is not None, soak or 0), backup=backup)
        app = an_app(
            "api:1",
            progress_deadline=100,
            migrations=migrations if migrates else None,
            analysis=ANALYSIS,
            strategy=strategy,
            replicas=replicas,
            freeze=freeze,
        )
        self.cluster = Cluster(_App(**vars(app)), planner)
        self.cluster.traffic = Traffic() if strategy.router else None
        self.total_before = self.most_before = replicas
        self.goes_on(10, Pace())

    def apply(self, **changes: Any) -> None:
        app = self.cluster.app
        if "image" in changes:
            changes["content"] = {"image": changes.pop("image")}
        self.cluster.app = replace(app, generation=app.generation + 1, **changes)

    # --- passes, and what follows them ----------------------------------------------------------------------------

    @act(12, LONG, PACES)
    def goes_on(self, passes: int, pace: Pace) -> None:
        for _ in range(passes):
            self.cluster.reconcile()
            self.follow(pace)

    @act(6, SHORT, PACES, ANY_CALL)
    def the_operator_dies_between_two_calls(self, passes: int, pace: Pace, call: int) -> None:
        """Again and again, as one does that runs out of memory: before one of its writes, or before its status."""
        for _ in range(passes):
            self.cluster.reconcile(crash_after=call % (self.cluster.calls() + 1))
            self.follow(pace)

    @act(4, SHORT, PACES)
    def no_watch_tells_of_anything(self, passes: int, pace: Pace) -> None:
        """Each pass comes when the last one asked for it, and finds what has happened meanwhile all at once."""
        for _ in range(passes):
            decided = self.cluster.reconcile()
            self.follow(pace)
            self.cluster.now += timedelta(seconds=self.cluster.asks_for(decided))

    @act(2, SHORT, PACES)
    def status_writes_are_lost(self, passes: int, pace: Pace) -> None:
        for _ in range(passes):
            self.cluster.reconcile(status_lost=True)
            self.follow(pace)

    @act(4, PACES, PARTS, PARTS)
    def a_look_sees_some_objects_as_they_were(self, pace: Pace, one: str, other: str) -> None:
        self.cluster.reconcile(meanwhile=lambda: self.follow(pace), older=(one, other))

    @act(3, PACES, range(3))
    def something_happens_between_look_and_deed(self, pace: Pace, passes: int) -> None:
        """With passes: a second operator acts meanwhile. This one's deeds are stale: a Service can't be changed on the
        condition that pods are as they were.
        """
        self._disturbed((lambda: self.goes_on(passes, pace)) if passes else (lambda: self.follow(pace)))

    @act(2, NAMES, range(6))
    def somebody_applies_between_look_and_deed(self, image: str, replicas: int) -> None:
        self._disturbed(lambda: self.apply(image=image, replicas=replicas))

    def _disturbed(self, meanwhile: Callable[[], object]) -> None:
        self.cluster.disturbed = True
        self.cluster.reconcile(meanwhile=meanwhile)
        self.cluster.disturbed = False

    def follow(self, pace: Pace) -> None:
        cluster = self.cluster
        if pace.pods_end:
            cluster.terminating_pods_end()
            cluster.suspended_pods_end()
        for release in cluster.running:
            cluster.controller_acts(release, pace.ready)
        if pace.jobs:
            for name, work in list(cluster.works.items()):
                if not work.job.active:
                    continue
                if pace.jobs == "start":
                    cluster.job_starts(name)
                else:
                    cluster.job_ends(name, pace.jobs)

    # --- people ---------------------------------------------------------------------------------------------------

    @act(8, NAMES, LONG, PACES)
    def a_release_goes_on_its_way(self, image: str, passes: int, pace: Pace) -> None:
        self.apply(image=image)
        self.goes_on(passes, pace)

    @act(6, NAMES, LONG, PACES)
    def a_release_ends_and_the_next_one_begins(self, image: str, passes: int, pace: Pace) -> None:
        self.goes_on(10, Pace())
        self.go_on()
        self.goes_on(8, Pace())
        self.apply(image=image, commands={})
        self.goes_on(passes, pace)

    @act(5, ("abort", "promote", "promote-full", "retry", "restart"), SHORT, PACES)
    def somebody_orders(self, command: str, passes: int, pace: Pace) -> None:
        """What fits the newest release."""
        record = max((d.record for d in self.cluster.running.values()), key=lambda r: r.revision, default=None)
        if record is None:
            return
        value = f"{record.revision}/{record.step + 1}" if command in ("promote", "restart") else str(record.revision)
        self.apply(commands={command: value})
        self.goes_on(passes, pace)

    @act(1, ("abort", "promote", "promote-full", "retry", "restart", "contract"), range(9), ("", "/1", "/x"))
    def somebody_orders_what_does_not_fit(self, command: str, revision: int, more: str) -> None:
        self.apply(commands={**self.cluster.app.commands, command: f"{revision}{more}"})

    @act(4, ("contract", "contract", "downgrade", "restore"), range(4), SHORT, PACES)
    def somebody_orders_work_on_the_database(self, command: str, back: int, passes: int, pace: Pace) -> None:
        """For the stable release, or one that was before it."""
        cluster = self.cluster
        number = int((cluster.app.status.get("operation") or {}).get("number", 0)) + 1
        known = sorted(d.record.revision for d in cluster.running.values()) or [1]
        revision = known[max(0, len(known) - 1 - back)]
        self.apply(commands={command: f"uid-1/{revision}/{number}"})
        self.goes_on(passes, pace)

    @act(2, NAMES, PACES)
    def a_contract_leaves_no_report_and_somebody_goes_back(self, image: str, pace: Pace) -> None:
        """Its Job did its work, or didn't, and died each time before it could say so."""
        cluster = self.cluster
        self.apply(image="api:3")
        for _ in range(20):
            target = cluster.running.get(cluster.app.release)
            if target and target.record.stage is Stage.PROMOTED:
                number = int((cluster.app.status.get("operation") or {}).get("number", 0)) + 1
                self.apply(commands={"contract": f"uid-1/{target.record.revision}/{number}"})
                break
            self.go_on()
            self.goes_on(1, Pace())
        self.goes_on(10, Pace(jobs="lost"))
        self.apply(image=image)
        self.goes_on(4, pace)

    @act(3, NAMES, range(1, 6), SHORT, PACES)
    def an_autoscaler_scales_and_somebody_goes_back(self, image: str, replicas: int, passes: int, pace: Pace) -> None:
        self.apply(replicas=replicas)
        self.goes_on(passes, pace)
        self.apply(image=image)
        self.goes_on(passes, pace)

    @act(2, (True, False), SHORT, PACES)
    def somebody_pauses(self, paused: bool, passes: int, pace: Pace) -> None:
        self.apply(paused=paused)
        self.goes_on(passes, pace)

    @act(4, range(6), SHORT, PACES)
    def an_autoscaler_scales(self, replicas: int, passes: int, pace: Pace) -> None:
        self.apply(replicas=replicas)
        self.goes_on(passes, pace)

    @act(2, STRATEGIES, (True, False))
    def somebody_changes_the_strategy(self, strategy: Strategy, freeze: bool) -> None:
        """Not in mid-release with a router: what another one has routed is then nobody's."""
        cluster = self.cluster
        if any(d.record.stage is Stage.ROLLING for d in cluster.running.values()):
            return
        if cluster.traffic and (cluster.traffic.weight or cluster.traffic.present):
            return
        cluster.traffic = Traffic() if strategy.router else None
        self.apply(strategy=strategy, freeze=freeze)

    @act(1, ("a", "b"))
    def a_secret_is_rotated(self, digest: str) -> None:
        self.apply(secrets=digest)

    @act(2, (0, 10, 33, 100), SHORT, PACES)
    def somebody_else_routes(self, weight: int, passes: int, pace: Pace) -> None:
        """In a route of the user's own; that is left as it is, and taken back at the end."""
        cluster = self.cluster
        if cluster.traffic and cluster.candidate_service and cluster.app.strategy.router == ROUTE:
            cluster.traffic = replace(cluster.traffic, weight=weight)
            self.goes_on(passes, pace)

    # --- Jobs, pods, and everything else --------------------------------------------------------------------------

    @act(3, ANY, ENDS)
    def a_job_ends(self, which: int, how: str) -> None:
        if work := self._job(which):
            self.cluster.job_ends(work, how)

    @act(2, SHORT, ("failed", "waiting", "lost"))
    def jobs_fail(self, passes: int, how: str) -> None:
        self.goes_on(passes, Pace(jobs=how))

    @act(3, ANY, SHORT, PACES)
    def somebody_removes_a_job(self, which: int, passes: int, pace: Pace) -> None:
        """Its pod goes on for a while, and must not meet another one."""
        active = [name for name, work in self.cluster.works.items() if work.job.active]
        name = active[which % len(active)] if active else self._job(which)
        if name:
            self.cluster.job_starts(name)
            self.cluster.job_is_removed(name)
        self.goes_on(passes, replace(pace, pods_end=False, jobs="start" if which % 2 else pace.jobs))

    @act(3, ANY, range(1, 4))
    def pods_become_unready(self, which: int, count: int) -> None:
        releases = sorted(self.cluster.running)
        for _ in range(count if releases else 0):
            self.cluster.pods_fail(releases[which % len(releases)])

    @act(1, (True, False, False))
    def the_database_comes_and_goes(self, away: bool) -> None:
        self.cluster.database_away = away

    @act(1, (0.0, 0.0, 0.5, None, "Prometheus does not answer"))
    def prometheus_says(self, answer: float | str | None) -> None:
        self.cluster.answer = answer

    @act(5, (1, 15, 70, 200), SHORT, PACES)
    def time_passes(self, seconds: int, passes: int, pace: Pace) -> None:
        self.cluster.now += timedelta(seconds=seconds)
        self.goes_on(passes, pace)

    def _job(self, which: int) -> str | None:
        names = sorted(self.cluster.works)
        return names[which % len(names)] if names else None

    # --- what holds after each act, and at the end ----------------------------------------------------------------

    def do(self, what: Act) -> None:
        name, arguments = what
        getattr(self, name)(*arguments)
        self.check()

    def check(self) -> None:
        cluster = self.cluster
        cluster.check()
        cluster.check_one_migration()
        numbers = [d.record.revision for d in cluster.running.values()]
        assert len(numbers) == len(set(numbers)), "no number is given twice"
        most = cluster.app.replicas + amounts(cluster.app)[0]
        total = sum(d.replicas for d in cluster.running.values())
        if not cluster.app.strategy.apart:
            # What was decided before `replicas` changed may be done after it.
            assert total <= max(self.total_before, self.most_before, most), "more pods than maxSurge allows"
        self.total_before, self.most_before = total, most

    def end(self) -> None:
        """6 and 7: left alone, with all going well, every history ends as wanted, and then nothing more is written."""
        cluster = self.cluster
        cluster.database_away, cluster.answer = False, 0.0
        self.apply(paused=False, commands={})
        if cluster.traffic and cluster.app.strategy.router == ROUTE:
            cluster.traffic = replace(cluster.traffic, weight=0)
        self._stands_still()
        decided = self._settled()
        if decided.outcome.reason == "SchemaIncompatible":
            self.apply(image="api:3")  # knows every contract, and requires none
            decided = self._settled()
        assert decided.outcome.phase is Phase.HEALTHY, decided.outcome
        target = cluster.running[cluster.app.release]
        assert target.record.stage is Stage.PROMOTED
        assert target.replicas == target.ready == cluster.app.replicas
        assert all(d.replicas == 0 for d in cluster.running.values() if d is not target)
        assert cluster.service
        assert cluster.service.release == target.release
        assert cluster.traffic is None or cluster.traffic.weight == 0
        assert not cluster.reconcile().actions, "7: nothing is written at rest"

    def _stands_still(self) -> None:
        """7: where nothing happens but that controllers look at what is written, the operator stops writing."""
        for _ in range(20):
            decided = self.cluster.reconcile()
            for running in self.cluster.running.values():
                running.current = True
        assert not decided.actions, f"7: it writes without an end: {decided}"

    def _settled(self) -> Plan:
        """At rest, with the orders that a waiting or failed release asks for."""
        decided = self._rests()
        for _ in range(4):
            if decided.outcome.phase in (Phase.PAUSED, Phase.FAILED):
                self.go_on()
                decided = self._rests()
        return decided

    def _rests(self) -> Plan:
        cluster, pace = self.cluster, Pace()
        for _ in range(150):
            decided = cluster.reconcile()
            before = self._moving()
            self.follow(pace)
            resting = not decided.actions and before == self._moving()
            if resting and (decided.check_after is None or decided.outcome.phase is Phase.PAUSED):
                return decided
            if resting:
                cluster.now += timedelta(seconds=decided.check_after or 0)
        raise AssertionError(f"6: no rest: {decided.outcome}")

    def _moving(self) -> tuple[Any, ...]:
        """What only the cluster moves."""
        cluster = self.cluster
        counts = tuple((d.replicas, d.pods, d.ready, d.terminating, d.seen) for d in cluster.running.values())
        return counts, tuple((w.job, w.pod) for w in cluster.works.values()), len(cluster.orphans)

    def go_on(self) -> None:
        """A person gives the orders that a waiting or failed release asks for."""
        if target := self.cluster.running.get(self.cluster.app.release):
            number = str(target.record.revision)
            self.apply(commands={"promote-full": number, "retry": number})


# --- by chance ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Course:
    """What is chosen for a history before it is told."""

    strategy: Strategy
    replicas: int
    soak: int | None
    freeze: bool
    migrates: bool
    acts: tuple[Act, ...]

    @classmethod
    def by_chance(cls, seed: int, strategies: Sequence[Strategy] = STRATEGIES) -> "Course":
        chance = random.Random(seed)
        names, often = list(ACTS), [often for often, _ in ACTS.values()]
        # A history has its own kinds of trouble: with all of them at once few would come far.
        often = [weight * chance.choice((0, 1, 1, 3)) for weight in often]
        often[names.index("goes_on")] = 12
        chosen = chance.choices(names, often, k=ACTS_OF_A_HISTORY)
        acts = tuple((name, tuple(chance.choice(found) for found in ACTS[name][1])) for name in chosen)
        soak = chance.choice((0, 0, 60, None))
        freeze, migrates = chance.random() < 0.2, chance.random() < 0.8
        return cls(chance.choice(strategies), chance.randint(1, 4), soak, freeze, migrates, acts)

    def fails(self, planner: ModuleType) -> str:
        """What is broken in it, empty if nothing is."""
        try:
            history = History(
                planner, self.strategy, self.replicas, self.soak, freeze=self.freeze, migrates=self.migrates
            )
            for each in self.acts:
                history.do(each)
            history.end()
        except Exception as error:  # whatever is raised, is a bug
            return f"{type(error).__name__}: {error}"
        return ""

    def shortest(self, planner: ModuleType) -> "Course":
        """Still failing, with acts left out one stretch at a time."""
        course, stretch = self, len(self.acts) // 2
        while stretch:
            at = 0
            while at < len(course.acts):
                shorter = replace(course, acts=course.acts[:at] + course.acts[at + stretch :])
                if shorter.fails(planner):
                    course = shorter
                else:
                    at += stretch
            stretch //= 2
        return course

    def __str__(self) -> str:
        head = f"{self.strategy}\nreplicas {self.replicas}, soak {self.soak}, freeze {self.freeze}"
        head += f", migrates {self.migrates}"
        return "\n".join((head, *(f"  {name}{arguments}" for name, arguments in self.acts)))


def simulate(
    planner: ModuleType, histories: int, *, first: int = 0, strategies: Sequence[Strategy] = STRATEGIES
) -> None:
    """Raises AssertionError with the shortest form of the first history that fails."""
    for seed in range(first, first + histories):
        course = Course.by_chance(seed, strategies)
        if course.fails(planner):
            course = course.shortest(planner)
            raise AssertionError(f"seed {seed}: {course.fails(planner)}\n{course}")


def _failures(seeds: range) -> tuple[int, list[int]]:
    return len(seeds), [seed for seed in seeds if Course.by_chance(seed).fails(inventory_operator.plan)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--histories", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=None, help="seed of the first one; default: by the clock")
    parser.add_argument("--processes", type=int, default=None, help="default: one for each core")
    found = parser.parse_args()
    first = int(time.time()) * 1000 if found.first is None else found.first
    print(f"{found.histories} histories from seed {first} on")
    begun, done, failed = time.monotonic(), 0, list[int]()
    with multiprocessing.Pool(found.processes) as pool:
        for count, seeds in pool.imap_unordered(_failures, _batches(first, found.histories, 100)):
            failed += seeds
            if (done := done + count) // 1000 > (done - count) // 1000:
                seconds = time.monotonic() - begun
                print(f"{done} in {seconds:.0f} s, {done / seconds:.0f} a second, {len(failed)} failed", flush=True)
            if len(failed) >= 10:
                break
    seconds = time.monotonic() - begun
    print(f"{done} histories in {seconds:.0f} s: {f'{len(failed)} failed' if failed else 'all hold what must hold'}")
    if failed:
        print(f"seeds {', '.join(map(str, sorted(failed)))}")
    courses = [(seed, Course.by_chance(seed).shortest(inventory_operator.plan)) for seed in failed]
    for seed, course in sorted(courses, key=lambda each: len(each[1].acts))[:1]:
        print(f"\nThe shortest, --first {seed} --histories 1:\n{course}\n{course.fails(inventory_operator.plan)}")
    return 1 if failed else 0


def _batches(first: int, count: int, size: int) -> Iterator[range]:
    for begin in itertools.count(first, size):
        if begin >= first + count:
            return
        yield range(begin, min(begin + size, first + count))


if __name__ == "__main__":
    sys.exit(main())
