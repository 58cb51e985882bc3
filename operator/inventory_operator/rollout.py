"""The way of a release: begin -> migrate -> roll, step by step -> promote; or it fails, and what served serves on.

Each pass takes the next step that the facts allow and no more; the facts of the following pass tell whether it
happened.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from inventory_api.migrations.rule import objections

from . import commands, jobs, operations, steps
from .actions import (
    Action,
    CreateDeployment,
    CreateJob,
    Emit,
    Measure,
    Outcome,
    Phase,
    Plan,
    SuspendJob,
    UpdateDeployment,
)
from .analysis import State, Verdict, due_metrics, next_due, tally_of, verdict
from .jobs import not_ready, pull_message, pull_overdue, tidy
from .model import (
    PULL_TROUBLE,
    Analyse,
    Analysis,
    App,
    Deployment,
    Gate,
    Json,
    Observed,
    Pause,
    Pod,
    Record,
    SetWeight,
    Stage,
    seconds_to,
)
from .traffic import ALL, Shift

UNCOUNTED: Mapping[str, Any] = {"progressed": None, "ready": 0}
"""A record that waits for no pods to get ready: what was counted of them has no meaning then."""


def begin(observed: Observed, now: datetime) -> Plan:
    """New content: write the intent down before the first step."""
    app = observed.app
    name = f"{app.name}-{app.release}"
    if any(d.deleting and d.release == app.release for d in observed.deployments):
        kept = Shift(observed, now).hold(None)
        return Plan(
            Outcome(Phase.PENDING, "AwaitingDeletion", f"Deployment {name} is still being deleted."), tuple(kept)
        )
    record = _begun(observed, now, Record(0, Stage.MIGRATING, now, str(app.content["image"])))
    target = Deployment(
        name=name,
        release=app.release,
        record=record,
        replicas=0,
        pods=0,
        ready=0,
        current=False,
        settled=False,
        deleting=False,
        resource_version="",
        image=record.image,
        restarted=app.secrets,
    )
    to_be = replace(observed, deployments=(*observed.deployments, target))
    return Rollout(to_be, now, target).begin(f"Revision {record.revision} begins: {record.image}")


def give_up(observed: Observed, now: datetime, keep: Deployment, reason: str) -> Iterable[Action]:
    """Whatever else is on its way."""
    for other in observed.releases:
        record = other.record
        if other is keep:
            continue
        if record.stage in (Stage.MIGRATING, Stage.ROLLING):
            left = replace(record, stage=Stage.LEFT, reason=reason, ended=now, **UNCOUNTED)
            yield UpdateDeployment(other, record=left)
            yield Emit("Normal", reason, f"Revision {record.revision} was given up")
        elif record.stage is Stage.FAILED and reason == "Aborted":
            yield UpdateDeployment(other, record=replace(record, stage=Stage.LEFT, held=False))
    for job in observed.jobs:
        if job.gate and job.active and job.revision != keep.record.revision:
            yield SuspendJob(job)


@dataclass(frozen=True)
class Rollout:
    """One pass over the release that the spec describes, while it is not the one that serves."""

    observed: Observed
    now: datetime
    target: Deployment

    @property
    def app(self) -> App:
        return self.observed.app

    @property
    def record(self) -> Record:
        return self.target.record

    @property
    def stable(self) -> Deployment | None:
        return self.observed.stable

    @property
    def shift(self) -> Shift:
        return Shift(self.observed, self.now)

    def go_on(self) -> Plan:
        """By its stage. Whatever else was on its way is superseded by it."""
        stage = self.record.stage
        if self._comes_back():
            decided = self._begin_again()
        elif stage is Stage.MIGRATING:
            decided = self._migrate()
        elif stage is Stage.ROLLING:
            decided = self._roll()
        else:
            return self._stay_failed()
        given_up = give_up(self.observed, self.now, self.target, "Superseded")
        return replace(decided, actions=(*decided.actions, *given_up))

    def abort(self) -> Plan | None:
        """By order; what it migrates goes on to its end."""
        if self.record.stage in (Stage.MIGRATING, Stage.ROLLING) and self._told("abort"):
            return self._fail("Aborted", "it was aborted")
        return None

    # --- begin and migrate ----------------------------------------------------------------------------------------

    def begin(self, said: str) -> Plan:
        """The record says that it begins. Where nothing is to be migrated its first pods come with that same write."""
        event = Emit("Normal", "ReleaseBegun", said)
        if self._is_migrated:
            return self._start_rolling(self.record, None, event)
        return self._kept(Phase.PENDING, "ReleaseBegun", said, self._written(self.record), event)

    def _comes_back(self) -> bool:
        """Whether old content was applied again, or failed content told to try again: both take a new number."""
        if self.record.stage is not Stage.FAILED:
            return self.record.stage in (Stage.PROMOTED, Stage.LEFT)
        left_since = self.record.revision < max(d.record.revision for d in self.observed.releases)
        return left_since or self._told("retry") or operations.made_way_for(self.observed, self.record)

    def _begin_again(self) -> Plan:
        """What is known of the image's revisions stays known: it makes a rollback instant."""
        record = _begun(self.observed, self.now, self.record)
        said = f"Revision {record.revision} begins: {record.image}, the content of revision {self.record.revision}"
        return self._with(record).begin(said)

    def _migrate(self) -> Plan:
        """No pod of the release starts before its expand migrations are applied."""
        record = self.record
        if aborted := self.abort():
            return aborted
        if self._is_migrated:
            return self._start_rolling(record, None)
        create = CreateJob(self.target.release, record.revision, 1, self.target.image)
        begun = "is migrating" if jobs.attempts(self.observed, record.revision, "expand") else "begins to migrate"
        match self._job(create, begun, "MigrationFailed", record.started):
            case jobs.Going(said, actions, until):
                said = f"Revision {record.revision} {said}"
                return self._kept(Phase.MIGRATING, "Migrating", said, *actions, until=until)
            case jobs.Failed(reason, said, report, actions):
                if reason == "MigrationRefused" and report and objections(report.image, report.database):
                    return self._fail_incompatible(said, report)
                return self._fail(reason, said, *actions)
            case jobs.Done(_, image_id, report):
                if report is None:
                    raise AssertionError("a run of the migration command is done only with its report")
                if against := objections(report.image, report.database):
                    return self._fail_incompatible(against[0], report)
                return self._start_rolling(_looked(record, report, self.now), pinned_image(record.image, image_id))

    def _kept(self, phase: Phase, reason: str, said: str, *actions: Action, until: datetime | None = None) -> Plan:
        """A pass before its pods come: what serves is kept as it is."""
        return self._plan(phase, reason, f"{said}.", *self.shift.hold(self.target), *actions, until=until)

    @property
    def _is_migrated(self) -> bool:
        """It needs no Job: there is nothing to migrate, or what the database has is known and fits."""
        image, known = self.record.image_schema, self.observed.schema
        if self.app.migrations is None:
            return True
        if image is None or known is None or operations.unclear_since(self.observed, known[0]):
            return False
        return not objections(image, known[1])

    def _start_rolling(self, record: Record, pin: str | None, *events: Emit) -> Plan:
        """Its first pods come with the record. What has served, and what nothing serves beside, goes without steps."""
        found = self.app.strategy.steps
        skipped = len(found) if record.served or self.stable is None or not self.app.replicas else 0
        record = replace(
            record,
            stage=Stage.ROLLING,
            progressed=self.now,
            step=skipped,
            steps=steps.digest(found),
            step_started=self.now,
        )
        image, restarted = pin if pin != self.target.image else None, wanted_restart(self.app, self.target)
        rolling, said = self._with(record), f"Revision {record.revision} rolls out"
        moved = rolling.shift.carry(rolling.target, rolling._weight)
        written = self._written(record, image, restarted)  # last: others make room first
        event = Emit("Normal", "RollingOut", f"{said}: {pin or self.target.image}")
        return self._plan(
            Phase.PROGRESSING, "RollingOut", f"{said}.", *moved, written, *events, event, weight=rolling._weight
        )

    def _written(self, record: Record, image: str | None = None, restarted: str | None = None) -> Action:
        """The record, on a Deployment that is there or is yet to be made."""
        if not self.target.resource_version:
            return CreateDeployment(self.target.release, record)
        return UpdateDeployment(self.target, record=record, image=image, restarted=restarted)

    def _with(self, record: Record) -> "Rollout":
        """As it will be with this record."""
        target = replace(self.target, record=record)
        others = (d for d in self.observed.deployments if d is not self.target)
        return Rollout(replace(self.observed, deployments=(*others, target)), self.now, target)

    # --- roll, step by step ---------------------------------------------------------------------------------------

    @property
    def _steps_left(self) -> bool:
        return self.record.step < len(self.app.strategy.steps)

    @property
    def _analysis(self) -> Analysis | None:
        """What judges the candidate until its steps are over."""
        return self.app.analysis if self._steps_left else None

    @property
    def _weight(self) -> int:
        return steps.weight(self.app.strategy, self.record.step)

    @property
    def _at(self) -> str:
        return f"step {self.record.step + 1} of {len(self.app.strategy.steps)}"

    def _roll(self) -> Plan:
        """Each pass brings pods and requests to where the present step has them, or takes the next step."""
        decided = self._at_its_step()
        if self._analysis is None:
            return decided
        soon = min(next_due(m, tally_of(m, self.record.tallies), self.now) for m in self._analysis.metrics)
        waits = (decided.check_after, seconds_to(soon, self.now))
        return replace(decided, check_after=min(seconds for seconds in waits if seconds is not None))

    def _at_its_step(self) -> Plan:
        if aborted := self.abort():
            return aborted
        if changed := self._other_steps():
            return changed
        if judged := self._judged():
            return judged
        if self.shift.carries(self.target, self._weight):
            return self._next_step()
        return self._trouble() or self._on_the_way()

    def _other_steps(self) -> Plan | None:
        """The strategy has changed, or what is left of the steps is skipped."""
        record, found = self.record, self.app.strategy.steps
        if record.steps != steps.digest(found):
            over = record.step and record.step == steps.count(record)
            return self._to_step(len(found) if over else 0, "begins its steps anew", steps=steps.digest(found))
        if self._steps_left and (self._told("promote-full") or not self.app.replicas or self.stable is None):
            return self._to_step(len(found), "skips the rest of its steps")
        return None

    def _judged(self) -> Plan | None:
        """A candidate that is measured and found bad goes; one that can't be judged is held for a person."""
        record = self.record
        if self._analysis is None or not record.tallies:
            return None
        found = verdict(self._analysis, record.tallies)
        if found.state is State.FAILED:
            return self._fail("AnalysisFailed", _inner(found))
        if found.state is not State.UNCLEAR:
            return None
        number = record.step + 1
        if commands.promotes(self.app, record):
            return self._step_done(f"was promoted past step {number}, though it could not be judged")
        return self._stays(
            "AnalysisInconclusive",
            f"Revision {record.revision} can't be judged. {_inner(found)}; annotate "
            f"inventory.dev/promote={record.revision}/{number} to go on all the same, or abort it.",
            phase=Phase.PAUSED,
            waits=True,
        )

    def _next_step(self) -> Plan:
        """Pods and requests are where the step has them: what does it want besides?"""
        if not self._steps_left:
            return self._promote()
        match self.app.strategy.steps[self.record.step]:
            case SetWeight(share):
                return self._step_done(f"has {share} % of the requests")
            case Pause(seconds):
                return self._pausing(seconds)
            case Gate(job):
                return self._gate(job)
            case Analyse():
                return self._analysing()

    def _pausing(self, seconds: int | None) -> Plan:
        record, number = self.record, self.record.step + 1
        if commands.promotes(self.app, record):
            return self._step_done(f"was promoted past step {number}")
        at = f"Revision {record.revision} has {self._weight} % of the requests, {self._at}"
        if seconds is None:
            said = f"{at}; annotate inventory.dev/promote={record.revision}/{number} to go on, or abort it."
            return self._stays("AwaitingPromotion", said, phase=Phase.PAUSED, waits=True)
        until = (record.step_started or self.now) + timedelta(seconds=seconds)
        if self.now >= until:
            return self._step_done(f"has paused for {seconds} s")
        return self._stays("Pausing", f"{at}, for {seconds} s.", until=until, waits=True)

    def _gate(self, job: Json) -> Plan:
        record, number = self.record, self.record.step + 1
        create = CreateJob(self.target.release, record.revision, 1, self.target.image, f"gate{number}", (), job)
        match self._job(create, "waits for its gate", "GateFailed", record.step_started or record.started):
            case jobs.Going(said, actions, until):
                return self._stays("Gate", f"Revision {record.revision} {said}, {self._at}.", *actions, until=until)
            case jobs.Failed(reason, said, _, actions):
                return self._fail(reason, f"step {number}, a gate: {said}", *actions)
            case jobs.Done():
                return self._step_done(f"is through its gate, step {number}")

    def _analysing(self) -> Plan:
        record = self.record
        if self._analysis is None:
            return self._step_done("has nothing to be analysed by")
        found = verdict(self._analysis, record.tallies)
        if found.state is State.PASSED:
            return self._step_done(f"is analysed and found good. {found.message.rstrip('.')}")
        return self._stays("Analysing", f"Revision {record.revision} is analysed, {self._at}. {found.message}")

    def _stays(
        self,
        reason: str,
        said: str,
        *actions: Action,
        phase: Phase = Phase.PROGRESSING,
        until: datetime | None = None,
        waits: bool = False,
    ) -> Plan:
        """The step isn't over; pods and requests stay as it has them, whatever an autoscaler does meanwhile.

        Where nothing but time or a person is waited for, a Secret that is rotated reaches the pods.
        """
        record, events = self.shift.as_routed(self.record), list[Action]()
        if record.progressed:
            record = replace(record, **UNCOUNTED)  # its deadline counts anew if it ever loses pods
        if phase is Phase.PAUSED and not record.held:
            record = replace(record, held=True)  # said once
            events.append(Emit("Normal", reason, said))
        moved = self._moved(record) or (restarts(self.app, self.stable, self.target) if waits else [])
        return self._plan(phase, reason, said, *moved, *actions, *events, until=until, weight=self._weight)

    def _step_done(self, said: str) -> Plan:
        following = self.record.step + 1
        analyses = isinstance(next(iter(self.app.strategy.steps[following:]), None), Analyse)
        return self._to_step(following, said, **({"tallies": ()} if analyses else {}))  # it counts from here

    def _to_step(self, step: int, said: str, **changes: Any) -> Plan:
        at = {"step": step, "step_started": self.now, "progressed": self.now, "held": False}
        record = replace(self.shift.as_routed(self.record), **{**at, **changes})
        sentence = f"Revision {record.revision} {said}"
        return self._plan(
            Phase.PROGRESSING,
            "StepDone",
            f"{sentence}.",
            UpdateDeployment(self.target, record=record),
            Emit("Normal", "StepDone", sentence),
            weight=steps.weight(self.app.strategy, record.step),
        )

    def _promote(self) -> Plan:
        record = replace(
            self.record,
            stage=Stage.PROMOTED,
            ended=self.now,
            reason="",
            message="",
            held=False,
            served=True,
            **UNCOUNTED,
        )
        said = f"Revision {record.revision} serves"
        update = UpdateDeployment(self.target, record=record)
        event = Emit("Normal", "Promoted", f"{said}: {self.target.image}")
        return self._plan(Phase.PROGRESSING, "Promoted", f"{said}.", update, event, weight=ALL)

    # --- on the way to a step -------------------------------------------------------------------------------------

    def _on_the_way(self) -> Plan:
        weight, wanted = self._weight, steps.pods(self.app, self._weight)
        said = f"Revision {self.record.revision} rolls out: {self.target.serving} of {wanted} pods are ready"
        if weight < ALL and self.app.strategy.steps:
            said += f", on the way to {weight} %"
        why = not_ready([self._waiting]) if self._waiting else ""
        moved = self._moved(self._progress(self.shift.as_routed(self.record)))
        overdue = self._overdue()
        until = min(overdue, self.shift.heard_of_at(self.target) or overdue)
        said = f"{said}{self.shift.trouble}{why}."
        return self._plan(Phase.PROGRESSING, "RollingOut", said, *moved, until=until, weight=weight)

    def _moved(self, record: Record) -> list[Action]:
        """Pods and requests towards what the step means; the record, or else the answers to what is due, kept in it."""
        moved = [*self.shift.carry(self.target, self._weight)]
        if record != self.record:
            return [*moved, UpdateDeployment(self.target, record=record)]  # last: others make room first
        return [*moved, *self._measure()]

    def _measure(self) -> Iterable[Action]:
        """What is due, while the candidate has requests or an analysis is its present step."""
        analysis, weight = self._analysis, self._weight
        if analysis is None:
            return
        analysing = isinstance(self.app.strategy.steps[self.record.step], Analyse)
        due = due_metrics(analysis, self.record.tallies, self.now)
        if due and (weight or analysing) and self.shift.carries(self.target, weight):
            yield Measure(self.target, due, self.stable.release if self.stable else "")

    def _progress(self, record: Record) -> Record:
        """The progress deadline counts from when one more pod got ready, and stands still while a database is away.

        As long as nothing but our own last write keeps the Deployment from being settled, there is nothing to count:
        one more write would keep it so.
        """
        if not self.target.current:
            return record
        if record.progressed is None or self.target.serving > record.ready:
            return replace(record, ready=max(record.ready, self.target.serving), progressed=self.now)
        if self._waiting and (self.now - record.progressed).total_seconds() > self.app.progress_deadline / 2:
            return replace(record, progressed=self.now)  # a database that is away fails no release
        return record

    def _overdue(self) -> datetime:
        """When the release fails, unless a pod gets ready before."""
        progressed = self._progress(self.record).progressed or self.now
        return min([progressed + timedelta(seconds=self.app.progress_deadline), *self._pull_limits().values()])

    def _trouble(self) -> Plan | None:
        """A pod that can't be had, or has not got ready for too long, fails the release."""
        deadline, wanted = self.app.progress_deadline, steps.pods(self.app, self._weight)
        for pod, limit in self._pull_limits().items():
            if self.now >= limit:
                return self._fail("ImagePullFailed", pull_message(self.target.image, pod))
        traffic = self.observed.traffic
        if self.target.settled and self.target.serving >= wanted:
            if self.shift.router is None or not self.shift.trouble or self.now < self._overdue():
                return None  # it waits for the router, or for other pods to go: no fault of the release
            if traffic and traffic.trouble:
                said = f"the requests could not be divided within {deadline} s: {traffic.trouble}"
                return self._fail("TrafficNotRouted", said)
            return self._not_ours()
        if self.now < self._overdue():
            return None
        why = f" ({tidy(self.target.trouble)})" if self.target.trouble else not_ready(self._pods)
        said = f"{self.target.serving} of {wanted} pods got ready within {deadline} s{why}"
        return self._fail("ProgressDeadlineExceeded", said)

    def _not_ours(self) -> Plan:
        """Somebody else's weight is left for as long as he wants: whoever waits for the release is told, and may go."""
        number, weight = self.record.revision, self._weight
        said = f"Revision {number} waits for {weight} % of the requests{self.shift.trouble}"
        said = f"{said}; it goes on when that is {weight} again: set it so, or abort it."
        event = () if self.record.held else (Emit("Normal", "TrafficNotOurs", said),)
        moved = self._moved(self._progress(replace(self.shift.as_routed(self.record), held=True)))
        return self._plan(Phase.PAUSED, "TrafficNotOurs", said, *moved, *event, weight=weight)

    @property
    def _pods(self) -> list[Pod]:
        return self.observed.pods_of(self.target)

    @property
    def _waiting(self) -> Pod | None:
        return next((p for p in self._pods if p.waits and not p.ready), None)

    def _pull_limits(self) -> dict[Pod, datetime]:
        """Until when each image must have come that does not."""
        limit = self.app.image_pull_deadline
        late = (p for p in self._pods if p.waiting_reason in PULL_TROUBLE)
        return {pod: pull_overdue(pod, self.record.started, limit) for pod in late}

    # --- failed ---------------------------------------------------------------------------------------------------

    def _fail(self, reason: str, message: str, *actions: Action, record: Record | None = None) -> Plan:
        rolling = self.record.stage is Stage.ROLLING
        frozen = self.app.freeze and rolling and self.stable is not None and reason != "Aborted"
        record = replace(
            record or self.record,
            stage=Stage.FAILED,
            reason=reason,
            message=message,
            ended=self.now,
            held=frozen,
            **UNCOUNTED,
        )
        # Back on stable at once.
        kept = self.shift.take_back(self.stable) if self.stable and rolling and not frozen else ()
        event = Emit("Warning", reason, f"Revision {record.revision} failed: {self._why(record)}")
        # It is told even if the rest of it can't be done in this pass: the next one finds a release that has failed.
        return self._failed(record, UpdateDeployment(self.target, record=record), event, *kept, *actions)

    def _fail_incompatible(self, why: str, report: jobs.Report) -> Plan:
        """What was seen stays known: a way back that is ordered must know what the release needs."""
        record = _looked(self.record, report, self.now)
        return self._fail("SchemaIncompatible", why.rstrip("."), record=record)

    def _stay_failed(self) -> Plan:
        """A failed release isn't tried again until told; the stable one serves on, untouched.

        A first release has nothing to go back to: what there is of it stays, and serves if it was only too slow.
        """
        record, stable, target = self.record, self.stable, self.target
        if stable is None:
            if record.reason != "ProgressDeadlineExceeded":
                return self._failed(record)
            if self.shift.carries(target, ALL):
                return self._promote()
            return self._failed(record, *self.shift.carry(target, ALL))
        if record.held and not self._told("abort"):
            if commands.promotes(self.app, record) or self._told("promote-full"):
                return self._thaw()
            return self._failed(record, *(list(self.shift.hold(target)) or restarts(self.app, stable, target)))
        actions: list[Action] = list(self.shift.settle(stable))
        if record.held:
            actions.append(UpdateDeployment(target, record=replace(record, held=False)))
        return self._failed(record, *(actions or restarts(self.app, stable)))

    def _thaw(self) -> Plan:
        """A frozen release goes on where it was, because a person says so."""
        step = min(self.record.step + 1, len(self.app.strategy.steps))
        anew = {"stage": Stage.ROLLING, "ready": 0, "reason": "", "message": "", "ended": None, "tallies": ()}
        return self._to_step(step, "goes on, as it was told", **anew)

    def _failed(self, record: Record, *actions: Action) -> Plan:
        return self._plan(Phase.FAILED, record.reason, self._failed_message(record), *actions)

    def _why(self, record: Record) -> str:
        """Why it failed, with the ways out as they are now: each order that was tried has used its number up."""
        known = self._with(record).observed.schema
        if record.reason != "SchemaIncompatible" or known is None:
            return record.message
        return f"{record.message}; {operations.ways_out(self.observed, self.target, known[1])}"

    def _failed_message(self, record: Record) -> str:
        stable = self.stable
        if record.held:
            return (
                f"Revision {record.revision} failed and is left as it is: {record.message}. Annotate "
                f"inventory.dev/promote={record.revision}/{record.step + 1} to go on, "
                f"inventory.dev/abort={record.revision} to go back, or apply other content."
            )
        serves = "serves on" if stable and (stable.serving or not self.app.replicas) else "has no ready pod"
        serving = f"Revision {stable.record.revision} {serves}" if stable else "Nothing serves yet"
        return (
            f"Revision {record.revision} failed: {self._why(record)}. {serving}; apply other content, "
            f"or annotate inventory.dev/retry={record.revision} to try it again."
        )

    # --- parts ----------------------------------------------------------------------------------------------------

    def _told(self, command: str) -> bool:
        return commands.names(self.app, command, self.record)

    def _job(self, create: CreateJob, what: str, failure: str, since: datetime) -> jobs.State:
        return jobs.look(self.observed, self.now, jobs.Wanted(create, what, failure, since))

    def _plan(
        self,
        phase: Phase,
        reason: str,
        said: str,
        *actions: Action,
        until: datetime | None = None,
        weight: int = 0,
    ) -> Plan:
        return Plan(Outcome(phase, reason, said), actions, seconds_to(until, self.now), self.target, weight)


# --- restarts -----------------------------------------------------------------------------------------------------


def restarts(app: App, *releases: Deployment | None) -> list[Action]:
    """New pods for a rotated Secret or an order: one release after the other, each when the one before has its own.

    The Deployment's own rolling update brings a new pod up before an old one goes.
    """
    for each in releases:
        if each is None:
            continue
        if not each.restarted and not each.record.secrets and each.secrets:
            # An older operator has made these pods. They have run with what there is: an upgrade restarts nothing.
            return [UpdateDeployment(each, record=replace(each.record, secrets=each.secrets))]
        if not each.settled or each.serving < each.replicas:
            return []
        if wanted := wanted_restart(app, each):
            return [UpdateDeployment(each, restarted=wanted)]
    return []


def wanted_restart(app: App, deployment: Deployment) -> str | None:
    """What the pods are to be started for, if that is news: the digest of their Secrets, and the last order."""
    present = deployment.restarted or deployment.record.secrets
    digest, _, token = present.partition(" ")
    found = commands.order(app, "restart")
    if found and found.revision == deployment.record.revision:
        token = found.value
    secrets = deployment.secrets or digest
    wanted = f"{secrets} {token}" if token else secrets
    return wanted if wanted != present else None


# --- records, and rules without a world ---------------------------------------------------------------------------


def _begun(observed: Observed, now: datetime, old: Record) -> Record:
    """The record under the next number: what happened under an older one is over."""
    numbers = [d.record.revision for d in observed.deployments]
    numbers += [int(entry["revision"]) for entry in observed.app.status.get("history", ())]
    return Record(
        revision=max(numbers, default=0) + 1,
        stage=Stage.MIGRATING,
        started=now,
        image=old.image,
        image_schema=old.image_schema,
        database_schema=old.database_schema,
        schema_seen=old.schema_seen,
        served=old.served,
        operation=old.operation,
        backup=old.backup,
        secrets=old.secrets,
    )


def _looked(record: Record, report: jobs.Report, now: datetime) -> Record:
    return replace(record, image_schema=report.image, database_schema=report.database, schema_seen=now)


def pinned_image(image: str, image_id: str) -> str | None:
    """The image by the digest that ran, or None where the node knows no digest that could be pulled again.

    An image that was loaded into the node carries another repository in its id, or none.
    """
    if "@" in image:
        return image
    repository = re.sub(r":[\w.-]+$", "", image)
    found = re.search(r"([^/]*/?.*)@(sha256:[0-9a-f]{64})$", re.sub(r"^[a-z-]+://", "", image_id))
    if not found:
        return None
    normal = found[1].removeprefix("docker.io/").removeprefix("library/")
    if normal != repository.removeprefix("docker.io/").removeprefix("library/"):
        return None
    return f"{repository}@{found[2]}"


def _inner(found: Verdict) -> str:
    """The verdict's sentence within another one."""
    _, _, told = found.message.partition(": ")
    return (told or found.message).rstrip(".")
