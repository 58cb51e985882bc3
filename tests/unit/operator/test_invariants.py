"""What must hold in every history: the planner on a model cluster, driven at random, and killed anywhere."""

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import inventory_operator.actions
import inventory_operator.model
import inventory_operator.plan
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from inventory_operator.model import Pause, SetWeight, Strategy
from inventory_operator.reconcile import FOLLOW_UP_SECONDS, RESYNC_SECONDS

from .histories import ACTS, ANY_CALL, ROUTED, STRATEGIES, Course, History, Pace, simulate

HISTORIES = int(os.environ.get("SIMULATED_HISTORIES", "400"))
ENOUGH_FOR_A_BUG = 150


class Releases(RuleBasedStateMachine):
    """People apply content and give orders, an autoscaler scales, Jobs and pods succeed or not, the operator dies."""

    history: History

    @initialize(
        strategy=st.sampled_from(STRATEGIES),
        replicas=st.integers(1, 4),
        soak=st.sampled_from([0, 60, None]),
        freeze=st.booleans(),
        migrates=st.booleans(),
    )
    def a_release_serves(
        self, strategy: Strategy, replicas: int, soak: int | None, freeze: bool, migrates: bool
    ) -> None:
        self.history = History(inventory_operator.plan, strategy, replicas, soak, freeze=freeze, migrates=migrates)

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.end()


def _rule(name: str, count: int) -> Callable[..., None]:
    def happens(self: Releases, **drawn: Any) -> None:
        self.history.do((name, tuple(drawn[f"a{number}"] for number in range(count))))

    happens.__name__ = name
    return happens


_decorated: Any = rule
for _name, (_, _drawn) in ACTS.items():
    _choices = {f"a{number}": st.sampled_from(choice) for number, choice in enumerate(_drawn)}
    setattr(Releases, _name, _decorated(**_choices)(_rule(_name, len(_drawn))))


def test_what_must_hold_holds_in_every_history() -> None:
    run_state_machine_as_test(
        Releases,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


def test_what_must_hold_holds_in_histories_by_chance_too() -> None:
    simulate(inventory_operator.plan, HISTORIES)


def test_a_seed_tells_the_same_history_each_time() -> None:
    assert Course.by_chance(4711) == Course.by_chance(4711)
    assert Course.by_chance(4711) != Course.by_chance(4712)


def test_the_operator_of_a_history_can_die_before_each_write_of_a_pass_and_before_its_status() -> None:
    written = set()
    for call in ANY_CALL:
        history = History(inventory_operator.plan, Strategy("canary", 0, 1, steps=(SetWeight(25), Pause())), 3, None)
        for image in ("api:2", "api:3"):  # one takes the other one's place, which takes many writes
            history.apply(image=image)
            history.goes_on(10 if image == "api:2" else 0, Pace())
        before = history.cluster.written
        history.the_operator_dies_between_two_calls(1, Pace(), call)
        written.add(history.cluster.written - before)
    assert written == {0, 1, 2, 3, 4, 5}


def test_where_no_watch_tells_a_history_goes_on_when_its_operator_has_asked_for_it() -> None:
    history = History(inventory_operator.plan, Strategy(), 2, None)
    for image, pace, seconds in (("api:1", Pace(), RESYNC_SECONDS), ("api:2", Pace(0), FOLLOW_UP_SECONDS)):
        history.apply(image=image)
        history.goes_on(10, pace)
        before = history.cluster.now
        history.no_watch_tells_of_anything(1, pace)
        assert (history.cluster.now - before).total_seconds() == pytest.approx(seconds, abs=1)


# Bugs as somebody might make them; each breaks something that is promised, and none is seen in a single pass.
MUTANTS = {
    "the candidate's pods go before the router has taken its requests away": (
        "traffic.py",
        "        if weight and self._leads(self.observed.candidate_service, deployment):\n",
        "        if False:\n",
    ),
    "a router gets a weight before there is a ready pod for it": (
        "traffic.py",
        "        if led and known >= routed_share(weight, self.app.replicas) and not",
        "        if led and not",
    ),
    "pods start while the migrations still run": (
        "rollout.py",
        "        create = CreateJob(self.target.release, record.revision, 1, self.target.image)\n",
        "        create = CreateJob(self.target.release, record.revision, 1, self.target.image)\n"
        "        if jobs.attempts(self.observed, record.revision, 'expand'):\n"
        "            return self._start_rolling(record, None)\n",
    ),
    "a number is given twice": (
        "rollout.py",
        "revision=max(numbers, default=0) + 1",
        "revision=max((d.record.revision for d in observed.releases if d.replicas), default=0) + 1",
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
    "a release begins with its pods before others have made room": (
        "rollout.py",
        "*moved, written,",
        "written, *moved,",
    ),
    "pods go while the Service leads to none of those that take their place": (
        "traffic.py",
        "wait = self._ready(self.observed.service) == sum(d.serving for d in self.observed.releases)\n",
        "wait = True\n",
    ),
    "a contract does not wait for pods that it breaks": (
        "operations.py",
        "        if left or counted:\n",
        "        if False:\n",
    ),
    "a terminating pod does not count before a contract": (
        "operations.py",
        "if p.owner not in stay and not p.finished]",
        "if p.owner not in stay and not p.finished and not p.deleting]",
    ),
    "a candidate begins during a contract": (
        "plan.py",
        "    if at_work := operations.under_way(observed, now) or",
        "    if at_work := (target is observed.stable and operations.under_way(observed, now)) or",
    ),
    "a Job begins beside the pod of one that vanished": (
        "jobs.py",
        "        if unfinished:\n",
        "        if False:\n",
    ),
    "the stable Service leaves the former release before the new one is full": (
        "traffic.py",
        "fits = bearable(self.app, main.serving) >= share or main.serving >= self._ready(service)\n",
        "fits = True\n",
    ),
    "a router leads requests back before the stable release has its pods again": (
        "traffic.py",
        "weight = wanted if same else max(wanted, ALL - bearable(self.app, main.serving))",
        "weight = wanted",
    ),
    "a router leads the requests of a superseded candidate to the next one before that has pods": (
        "traffic.py",
        "goes = not led or bears or not self._ready(service)\n",
        "goes = True\n",
    ),
    "a schema is trusted that an operation without a report may have changed": (
        "rollout.py",
        " or operations.unclear_since(self.observed, known[0])",
        "",
    ),
    "a steady app is written to": (
        "traffic.py",
        "traffic.present and not traffic.weight:",
        "not traffic.weight:",
    ),
    "its own write that is not seen yet makes it write again": (
        "rollout.py",
        "if not self.target.current:",
        "if False:",
    ),
}


FOCUS = {name: ROUTED for name in MUTANTS if "router" in name}
"""Strategies that a bug concerns, where most of the histories would be about others."""


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
    for module in (inventory_operator.actions, inventory_operator.model):
        sys.modules[module.__name__.replace("inventory_operator", "planted_operator")] = module
    try:
        yield importlib.import_module("planted_operator.plan")
    finally:
        sys.path.remove(str(tmp_path))
        for name in [name for name in sys.modules if name.partition(".")[0] == "planted_operator"]:
            del sys.modules[name]


def test_a_bug_that_is_planted_is_found(planted: ModuleType, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["planted"]
    with pytest.raises(AssertionError):
        simulate(planted, ENOUGH_FOR_A_BUG, strategies=FOCUS.get(name, STRATEGIES))
