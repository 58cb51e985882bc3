"""What must hold in every history: the planner on a model cluster, driven at random, and killed anywhere."""

import importlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import inventory_operator.model
import inventory_operator.plan
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from inventory_operator.counts import amounts
from inventory_operator.model import (
    Analyse,
    Analysis,
    Contract,
    Gate,
    Metric,
    Migrations,
    Pause,
    Phase,
    Plan,
    Router,
    SetWeight,
    Stage,
    Strategy,
    Traffic,
)

from .simulation import IMAGES, Cluster
from .world import an_app

STRATEGIES = (
    Strategy("rolling", "25%", 0),
    Strategy("rolling", 0, 1),
    Strategy("canary", steps=(Gate({}), SetWeight(25), Pause(60), Analyse(), SetWeight(50), Pause())),
    Strategy("canary", 0, 1, steps=(SetWeight(25), Pause())),
    Strategy(
        "canary", steps=(SetWeight(0), Gate({}), SetWeight(40), Analyse()), router=Router("ingress", "i"), warm=60
    ),
    Strategy(
        "canary", steps=(SetWeight(50), Pause()), router=Router("ingress", "i"), dynamic_stable_scale=True, warm=30
    ),
    Strategy("canary", steps=(SetWeight(20), Pause(30)), router=Router("httpRoute", "r"), warm=30),
    Strategy("blueGreen", steps=(Gate({}), Pause()), warm=60),
)
ANALYSIS = Analysis("http://prometheus", (Metric("errors", "up", good_max=0.01, interval=10, count=2),))
ENDS = ("well", "well", "well", "failed", "waiting", "lost")
HISTORIES = int(os.environ.get("SIMULATED_HISTORIES", "400"))


class Releases(RuleBasedStateMachine):
    """People apply content and give orders, an autoscaler scales, Jobs and pods succeed or not, the operator dies."""

    planner: ModuleType = inventory_operator.plan
    strategies: Sequence[Strategy] = STRATEGIES

    def __init__(self) -> None:
        super().__init__()
        migrations = Migrations(
            "owner", contract=Contract(automatic=True, soak=60), backup={"job": {}, "restoreJob": {}}
        )
        app = an_app("api:1", progress_deadline=100, migrations=migrations, analysis=ANALYSIS)
        self.cluster = Cluster(app, self.planner)
        self.total_before = 0

    def apply(self, **changes: object) -> None:
        app = self.cluster.app
        if "image" in changes:
            changes["content"] = {"image": changes.pop("image")}
        self.cluster.app = replace(app, generation=app.generation + 1, **changes)  # type: ignore[arg-type]

    # --- the operator ---------------------------------------------------------------------------------------------

    @rule()
    def reconcile(self) -> None:
        self.cluster.reconcile()

    @rule(crash_after=st.integers(0, 5))
    def the_operator_dies_between_two_calls(self, crash_after: int) -> None:
        self.cluster.reconcile(crash_after)

    @rule(image=st.sampled_from(sorted(IMAGES)))
    def something_changes_between_look_and_deed(self, image: str) -> None:
        self.cluster.reconcile(meanwhile=lambda: self.apply(image=image))

    @rule()
    def two_operators_act_on_the_same_look(self) -> None:
        """The second one's deeds are stale by then, and must either fail or harm nobody."""
        self.cluster.reconcile(meanwhile=self.cluster.reconcile)

    @initialize(data=st.data(), replicas=st.integers(1, 4), soak=st.sampled_from([0, 60, None]))
    def a_release_serves(self, data: st.DataObject, replicas: int, soak: int | None) -> None:
        strategy = data.draw(st.sampled_from(self.strategies))
        contract = Contract(automatic=soak is not None, soak=soak or 0)
        migrations = Migrations("owner", contract=contract, backup={"job": {}, "restoreJob": {}} if soak else None)
        self.apply(strategy=strategy, replicas=replicas, migrations=migrations)
        self.advance(10)
        self.cluster.traffic = Traffic() if strategy.router else None

    @rule(image=st.sampled_from(sorted(IMAGES)), passes=st.integers(1, 12), pods_end=st.booleans())
    def a_release_goes_on_its_way(self, image: str, passes: int, pods_end: bool) -> None:
        self.apply(image=image)
        self.advance(passes, pods_end=pods_end)

    @rule(image=st.sampled_from(sorted(IMAGES)), passes=st.integers(1, 8))
    def a_release_ends_and_the_next_one_begins(self, image: str, passes: int) -> None:
        self.advance(20)
        self.go_on()
        self.advance(8)
        self.apply(image=image, commands={})
        self.advance(passes)

    @rule(passes=st.integers(1, 8), seconds=st.sampled_from([0, 0, 70]), pods_end=st.booleans())
    def all_goes_on(self, passes: int, seconds: int, pods_end: bool) -> None:
        """Passes in which everything goes well, but for pods that may take long to end: else few histories come far."""
        self.cluster.now += timedelta(seconds=seconds)
        self.advance(passes, pods_end=pods_end)

    @rule(passes=st.integers(1, 6), ready=st.integers(0, 2))
    def pods_come_slowly(self, passes: int, ready: int) -> None:
        """Passes in which pods take their time, and those that end take it too."""
        for _ in range(passes):
            self.cluster.reconcile()
            for release in self.cluster.running:
                self.cluster.controller_acts(release, ready)

    @rule(passes=st.integers(1, 6), ready=st.integers(0, 3))
    def somebody_aborts(self, passes: int, ready: int) -> None:
        target = self.cluster.running.get(self.cluster.app.release)
        if target:
            self.apply(commands={"abort": str(target.record.revision)})
        self.pods_come_slowly(passes=passes, ready=ready)

    @rule(passes=st.integers(1, 6), ready=st.integers(0, 3))
    def somebody_promotes(self, passes: int, ready: int) -> None:
        self.go_on()
        self.pods_come_slowly(passes=passes, ready=ready)

    def advance(self, passes: int, *, pods_end: bool = True) -> None:
        cluster = self.cluster
        for _ in range(passes):
            cluster.reconcile()
            self.everything_goes_well(pods_end=pods_end)

    def everything_goes_well(self, *, pods_end: bool = True) -> None:
        cluster = self.cluster
        if pods_end:
            cluster.terminating_pods_end()
            cluster.suspended_pods_end()
        for release in cluster.running:
            cluster.controller_acts(release, 100)
        for name, work in list(cluster.works.items()):
            if work.job.active:
                cluster.job_ends(name, "well")

    # --- people, autoscalers, and everything else ------------------------------------------------------------------

    @rule(image=st.sampled_from(sorted(IMAGES)))
    def somebody_applies(self, image: str) -> None:
        self.apply(image=image)

    @rule(data=st.data(), freeze=st.booleans())
    def somebody_changes_the_strategy(self, data: st.DataObject, freeze: bool) -> None:
        """Not in mid-release with a router: what another one has routed is then nobody's."""
        strategy = data.draw(st.sampled_from(self.strategies))
        if any(d.record.stage is Stage.ROLLING for d in self.cluster.running.values()):
            return
        if self.cluster.traffic and (self.cluster.traffic.weight or self.cluster.traffic.present):
            return
        self.cluster.traffic = Traffic() if strategy.router else None
        self.apply(strategy=strategy, freeze=freeze)

    @rule(replicas=st.integers(0, 5))
    def an_autoscaler_scales(self, replicas: int) -> None:
        self.apply(replicas=replicas)

    @rule(paused=st.booleans())
    def somebody_pauses(self, paused: bool) -> None:
        self.apply(paused=paused)

    @rule(
        command=st.sampled_from(["promote", "promote-full", "abort", "retry", "restart"]),
        revision=st.integers(1, 8),
        step=st.integers(1, 6),
        fits=st.booleans(),
    )
    def somebody_orders(self, command: str, revision: int, step: int, fits: bool) -> None:
        if fits and self.cluster.running:
            record = max((d.record for d in self.cluster.running.values()), key=lambda r: r.revision)
            revision, step = record.revision, record.step + 1
        value = f"{revision}/{step}" if command in ("promote", "restart") else str(revision)
        self.apply(commands={**self.cluster.app.commands, command: value})

    @rule(
        command=st.sampled_from(["contract", "downgrade", "restore"]),
        revision=st.integers(1, 8),
        number=st.integers(1, 4),
        fits=st.booleans(),
    )
    def somebody_orders_work_on_the_database(self, command: str, revision: int, number: int, fits: bool) -> None:
        if fits:
            number = int((self.cluster.app.status.get("operation") or {}).get("number", 0)) + 1
        self.apply(commands={**self.cluster.app.commands, command: f"uid-1/{revision}/{number}"})

    @precondition(lambda self: self.cluster.works)
    @rule(data=st.data(), how=st.sampled_from(ENDS))
    def a_job_ends(self, data: st.DataObject, how: str) -> None:
        self.cluster.job_ends(data.draw(st.sampled_from(sorted(self.cluster.works))), how)

    @precondition(lambda self: self.cluster.works)
    @rule(data=st.data())
    def a_job_gets_its_pod(self, data: st.DataObject) -> None:
        self.cluster.job_starts(data.draw(st.sampled_from(sorted(self.cluster.works))))

    @precondition(lambda self: self.cluster.works)
    @rule(passes=st.integers(0, 3))
    def somebody_removes_a_job(self, passes: int) -> None:
        """Its pod goes on, and may not meet the pod of the next one."""
        name = max(self.cluster.works, key=lambda n: self.cluster.works[n].job.created)
        self.cluster.job_starts(name)
        self.cluster.job_is_removed(name)
        for _ in range(passes):
            self.cluster.reconcile()
            for each in list(self.cluster.works):
                self.cluster.job_starts(each)

    @precondition(lambda self: self.cluster.running)
    @rule(data=st.data(), ready=st.integers(0, 5))
    def the_deployment_controller_acts(self, data: st.DataObject, ready: int) -> None:
        self.cluster.controller_acts(data.draw(st.sampled_from(sorted(self.cluster.running))), ready)

    @precondition(lambda self: self.cluster.running)
    @rule(data=st.data())
    def a_pod_becomes_unready(self, data: st.DataObject) -> None:
        self.cluster.pods_fail(data.draw(st.sampled_from(sorted(self.cluster.running))))

    @rule()
    def pods_end(self) -> None:
        self.cluster.terminating_pods_end()
        self.cluster.suspended_pods_end()

    @rule(away=st.booleans())
    def the_database_comes_and_goes(self, away: bool) -> None:
        self.cluster.database_away = away

    @rule(answer=st.sampled_from([0.0, 0.0, 0.5, None, "Prometheus does not answer"]))
    def prometheus_says(self, answer: float | str | None) -> None:
        self.cluster.answer = answer

    @rule(weight=st.sampled_from([0, 10, 100]))
    def somebody_else_routes(self, weight: int) -> None:
        router, traffic = self.cluster.app.strategy.router, self.cluster.traffic
        if traffic and router and router.kind == "httpRoute" and weight in (0, traffic.weight):
            self.cluster.traffic = replace(traffic, weight=weight)

    @rule(seconds=st.sampled_from([1, 15, 70, 200]))
    def time_passes(self, seconds: int) -> None:
        self.cluster.now += timedelta(seconds=seconds)

    # --- what holds after each step ---------------------------------------------------------------------------------

    @invariant()
    def pods_are_where_the_schema_lets_them_be(self) -> None:
        self.cluster.check()

    @invariant()
    def never_two_migrations_at_once(self) -> None:
        self.cluster.check_one_migration()

    @invariant()
    def numbers_are_not_given_twice(self) -> None:
        numbers = [d.record.revision for d in self.cluster.running.values()]
        assert len(numbers) == len(set(numbers))

    @invariant()
    def without_a_router_never_more_pods_than_the_surge_allows(self) -> None:
        cluster = self.cluster
        surge, _ = amounts(cluster.app)
        total = sum(d.replicas for d in cluster.running.values())
        if not cluster.app.strategy.apart:
            assert total <= max(self.total_before, cluster.app.replicas + surge)
        self.total_before = total

    def teardown(self) -> None:
        """6 and 7: left alone, with all going well, every history ends as wanted, and then nothing more is written."""
        cluster = self.cluster
        cluster.database_away, cluster.answer = False, 0.0
        self.apply(paused=False, commands={})
        decided = self.settle()
        for _ in range(4):
            if decided.outcome.phase is Phase.PAUSED or decided.outcome.phase is Phase.FAILED:
                self.go_on()
                decided = self.settle()
        if decided.outcome.reason == "SchemaIncompatible":
            self.apply(image="api:3")  # knows every contract, and requires none
            decided = self.settle()
            for _ in range(4):
                if decided.outcome.phase in (Phase.PAUSED, Phase.FAILED):
                    self.go_on()
                    decided = self.settle()
        assert decided.outcome.phase is Phase.HEALTHY, decided.outcome
        target = cluster.running[cluster.app.release]
        assert target.record.stage is Stage.PROMOTED
        assert target.replicas == target.ready == cluster.app.replicas
        assert all(d.replicas == 0 for d in cluster.running.values() if d is not target)
        assert cluster.service
        assert cluster.service.release == target.release
        assert cluster.traffic is None or cluster.traffic.weight == 0
        assert not cluster.reconcile().actions

    def settle(self) -> Plan:
        cluster = self.cluster
        for _ in range(150):
            decided = cluster.reconcile()
            before = (
                repr(cluster.running), repr(cluster.works), cluster.traffic, cluster.service, cluster.candidate_service
            )  # fmt: skip
            self.everything_goes_well()
            after = (
                repr(cluster.running), repr(cluster.works), cluster.traffic, cluster.service, cluster.candidate_service
            )  # fmt: skip
            resting = not decided.actions and before == after
            if resting and (decided.check_after is None or decided.outcome.phase is Phase.PAUSED):
                return decided
            if resting:
                cluster.now += timedelta(seconds=decided.check_after or 0)
        raise AssertionError(f"no rest: {decided}")

    def go_on(self) -> None:
        """A person gives the orders that a waiting or failed release asks for."""
        target = self.cluster.running.get(self.cluster.app.release)
        if target is None:
            return
        record = target.record
        self.apply(commands={"promote-full": str(record.revision), "retry": str(record.revision)})


def simulate(
    planner: ModuleType, histories: int, *, shrink: bool = True, strategies: Sequence[Strategy] = STRATEGIES
) -> None:
    machine = type("Simulation", (Releases,), {"planner": planner, "strategies": strategies})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories,
            phases=(HypothesisPhase.generate, HypothesisPhase.shrink) if shrink else (HypothesisPhase.generate,),
            stateful_step_count=40,
            deadline=None,
            derandomize=histories <= 2000,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


def test_what_must_hold_holds_in_every_history() -> None:
    simulate(inventory_operator.plan, HISTORIES)


# Bugs as somebody might make them; each breaks something that is promised, and none is seen in a single pass.
MUTANTS = {
    "the candidate's pods go before the router has taken its requests away": (
        "plan.py",
        "        quiet = promoted and (traffic is None or traffic.trouble or traffic.weight == 0)\n",
        "        quiet = promoted\n",
    ),
    "a router gets a weight before there is a ready pod for it": (
        "plan.py",
        "        if ready and there and not self._routed(weight):",
        "        if there and not self._routed(weight):",
    ),
    "pods start while the migrations still run": (
        "plan.py",
        "        create = CreateJob(target.release, record.revision, 1, target.image)\n",
        "        create = CreateJob(target.release, record.revision, 1, target.image)\n"
        "        if jobs.attempts(self.observed, record.revision, 'expand'):\n"
        "            return self._start_rolling(target, record, None)\n",
    ),
    "a number is given twice": (
        "plan.py",
        "revision=max(numbers, default=0) + 1",
        "revision=max((d.record.revision for d in self.deployments if d.replicas), default=0) + 1",
    ),
    "a rollout takes one ready pod too many": (
        "counts.py",
        "app.replicas - unavailable\n",
        "app.replicas - unavailable - 1\n",
    ),
    "a rollout makes one pod too many": (
        "counts.py",
        "most, least = app.replicas + surge",
        "most, least = app.replicas + surge + 1",
    ),
    "a contract does not wait for pods that it breaks": (
        "operations.py",
        "        if left or counted:\n",
        "        if False:\n",
    ),
    "a terminating pod does not count before a contract": (
        "operations.py",
        "if p.owner in going and not p.finished]",
        "if p.owner in going and not p.finished and not p.deleting]",
    ),
    "a candidate begins during a contract": (
        "plan.py",
        "    if at_work := operations.under_way(deployments):\n",
        "    if (at_work := operations.under_way(deployments)) and target is stable:\n",
    ),
    "a Job begins beside the pod of one that vanished": (
        "jobs.py",
        "        if unfinished:\n",
        "        if False:\n",
    ),
    "the stable Service leaves the former release before the new one is full": (
        "plan.py",
        "            served = keep.release if full or alone else None\n",
        "            served = keep.release\n",
    ),
    "a steady app is written to": (
        "plan.py",
        "traffic.weight == 0 and to_keep and traffic.present",
        "traffic.weight == 0 and to_keep",
    ),
}


@pytest.fixture(params=sorted(MUTANTS))
def planted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModuleType]:
    """The planner of a copy of the package with one bug in it; the values are the real ones."""
    file, before, after = MUTANTS[request.param]
    source = Path(inventory_operator.plan.__file__).parent
    package = tmp_path / "planted_operator"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (package / file).read_text()
    assert text.count(before) == 1, f"{file} has changed: {before!r}"
    (package / file).write_text(text.replace(before, after))
    sys.path.insert(0, str(tmp_path))
    sys.modules["planted_operator.model"] = inventory_operator.model
    try:
        yield importlib.import_module("planted_operator.plan")
    finally:
        sys.path.remove(str(tmp_path))
        for name in [name for name in sys.modules if name.partition(".")[0] == "planted_operator"]:
            del sys.modules[name]


def test_a_bug_that_is_planted_is_found(planted: ModuleType, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["planted"]
    # It would be found with all strategies too, later.
    strategies = (
        [s for s in STRATEGIES if s.router] if "router" in name else STRATEGIES[:3] if "pod" in name else STRATEGIES
    )
    with pytest.raises(AssertionError):
        simulate(planted, 1000, shrink=False, strategies=strategies)
