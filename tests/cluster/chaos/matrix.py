"""Runs a scenario undisturbed, and then once for each point at which its operator can die."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.cluster.chaos.end_state import names, told
from tests.cluster.chaos.process import NEVER, Death, Noted
from tests.cluster.chaos.scenarios import NOTHING, Scenario, named
from tests.cluster.chaos.stage import Kept, Stage
from tests.cluster.cluster import Cluster
from tests.cluster.traffic import Traffic

STILL_SECONDS = 1.5
TRIES = 2
"""Of a point that a run did not come to: what the operator writes in between depends on when pods get ready."""


@dataclass(frozen=True)
class Write:
    """A call that writes, the n-th with these words, and whether something was read since the one before it."""

    said: str
    nth: int
    read_before: bool


@dataclass(frozen=True)
class Undisturbed:
    """How a scenario goes when nobody dies."""

    writes: tuple[Write, ...]
    reads: int
    seconds: float
    requests: int
    kept: Kept
    schema: tuple[str, ...]
    told: Counter[str]
    """Its Events, by reason."""

    @property
    def deaths(self) -> tuple[Death, ...]:
        """All that the cluster can tell apart.

        A read changes nothing: to die anywhere between two writes is to die after the one, or before the other later
        on. Where nothing is read in between, those two are the same.
        """
        found: list[Death] = []
        for write in self.writes:
            if write.read_before:
                found.append(Death("before", write.said, write.nth))
            found.append(Death("after", write.said, write.nth))
        return tuple(found)


@dataclass(frozen=True)
class Outcome:
    """What became of a run in which the operator died; `problem` is empty if all was as it must be."""

    scenario: str
    death: Death
    deaths: int
    seconds: float
    requests: int
    lost: int = 0
    """Events that the undisturbed run had."""
    twice: int = 0
    """Events that it did not have, or not so often."""
    problem: str = ""


@dataclass
class Lane:
    """One installation after the other, each until it is of no more use, for one scenario after the other."""

    cluster: Cluster
    _stage: Stage | None = None
    _kept: dict[str, Kept] = field(default_factory=dict)
    _told: dict[str, Undisturbed] = field(default_factory=dict)

    def close(self) -> None:
        if self._stage:
            self._stage.remove()
        self._stage = None
        self._kept.clear()
        self._told.clear()

    def undisturbed(self, scenario: Scenario) -> Undisturbed:
        """How the scenario goes; what it begins with is made first, where it isn't there."""
        if scenario.name not in self._told:
            stage = self._at_start(scenario)
            with traffic_on(stage, scenario) as traffic:
                stage.operator.doom(NEVER)
                began = time.time()
                scenario.act(stage)
                stage.wait_until_at_rest(f"{scenario.name} ends undisturbed", lambda: scenario.ended(stage))
                calls = stage.operator.calls()
            schema = tuple(stage.schema())
            kept = stage.keep(scenario.name)
            self._kept[scenario.name] = kept
            aliases = names(kept.objects, stage.images)
            writes = tuple(_writes(calls, aliases))
            seconds = max(call.at for call in calls if call.writes) - began
            reads = sum(not call.writes for call in calls)
            requests = len(traffic.answers) if traffic else 0
            events = told(stage.app)
            self._told[scenario.name] = Undisturbed(writes, reads, seconds, requests, kept, schema, events)
        return self._told[scenario.name]

    def killed(self, scenario: Scenario, death: Death) -> Outcome:
        """One run. Whatever goes wrong in it is in the outcome, and the next one begins with a fresh installation."""
        for _ in range(TRIES):
            try:
                outcome = self._killed(scenario, death)
            except Exception as error:  # whatever it is, the run did not end as it must
                problem = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
                self.close()
                return Outcome(scenario.name, death, 0, 0, 0, problem=problem)
            if outcome.deaths:
                break
        return outcome

    def _killed(self, scenario: Scenario, death: Death) -> Outcome:
        expected = self.undisturbed(scenario)
        stage = self._at_start(scenario)
        began = time.monotonic()
        with traffic_on(stage, scenario) as traffic:
            stage.operator.doom(_in_this_lane(death, names(expected.kept.objects, stage.images)))
            scenario.act(stage)
            stage.wait_until_same(expected.kept.state, STILL_SECONDS)
            deaths = stage.operator.deaths
        assert tuple(stage.schema()) == expected.schema, changed(expected.schema, stage.schema())
        seconds = time.monotonic() - began
        events, requests = told(stage.app), len(traffic.answers) if traffic else 0
        lost, twice = (expected.told - events).total(), (events - expected.told).total()
        return Outcome(scenario.name, death, deaths, seconds, requests, lost, twice)

    def _at_start(self, scenario: Scenario) -> Stage:
        if self._stage is None:
            self._stage = Stage(self.cluster)
            self._kept[NOTHING] = self._stage.set_up()
        if not (scenario.start in self._kept and self._stage.can_bring_back(self._kept[scenario.start])):
            self._told.pop(scenario.start, None)
            self.undisturbed(named(scenario.start))
        self._stage.bring_back(self._kept[scenario.start])
        return self._stage


def come_to(deaths: Iterable[Death], run: Callable[[Death], Outcome], count: int, tries: int) -> Iterator[Outcome]:
    """Runs of so many of these points, without those that the operator did not come to: another one takes their place.

    Raises AssertionError if it came to none of `tries` in a row, or to fewer than `count` of all.
    """
    missed: list[str] = []
    for death in deaths:
        outcome = run(death)
        if outcome.deaths or outcome.problem:
            yield outcome
            missed.clear()
            count -= 1
        else:
            missed.append(str(death))
        if not count or len(missed) == tries:
            break
    assert not count, f"the operator came to none of: {', '.join(missed)}"


@contextmanager
def traffic_on(stage: Stage, scenario: Scenario) -> Iterator[Traffic | None]:
    """Steady, until the end. During the first install there is nobody to ask, and so it begins when that is over."""
    if scenario.start != NOTHING:
        with stage.app.traffic() as traffic:
            yield traffic
        return
    yield None
    stage.app.wait_for("each of the ingress controller's workers answers", stage.app.answers_steadily)
    with stage.app.traffic():
        pass


def _writes(calls: Sequence[Noted], aliases: dict[str, str]) -> Iterator[Write]:
    count: Counter[str] = Counter()
    read = True
    for call in calls:
        if not call.writes:
            read = True
            continue
        said = call.said
        for release, name in aliases.items():
            said = said.replace(release, name)
        count[said] += 1
        yield Write(said, count[said], read)
        read = False


def _in_this_lane(death: Death, aliases: dict[str, str]) -> Death:
    """A death by a release's name, as the operator knows that release: by its hash."""
    said = death.said
    for release, name in aliases.items():
        for before in ("-", ": "):
            said = said.replace(f"{before}{name}", f"{before}{release}")
    return Death(death.when, said, death.nth)


def changed(expected: Sequence[str], actual: Sequence[str]) -> str:
    """Lines that are there once too often, or not."""
    before, after = Counter(expected), Counter(actual)
    more, less = (after - before).elements(), (before - after).elements()
    lines = [*(f"+ {line}" for line in more), *(f"- {line}" for line in less)]
    return "the schema is another one:\n" + "\n".join(lines or ["the same lines in another order"])
