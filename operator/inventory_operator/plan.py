"""The decision: from what was observed and the time to what is to be done. Pure: a test is values in, values out.

A release goes begin -> migrate -> roll, step by step -> promote; at rest, contract follows. Each pass takes the next
step that the facts allow and no more; the facts of the following pass tell whether it happened. Nothing is remembered
between passes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from inventory_api.migrations.rule import objections

from . import commands, jobs, operations, steps
from .analysis import State, Verdict, due_metrics, next_due, tally_of, verdict
from .counts import amounts, balance, bearable_weight, routed_share, stable_share
from .jobs import ENDING_SECONDS, not_ready, pull_message, pull_overdue, tidy
from .model import (
    PULL_TROUBLE,
    Action,
    Analyse,
    App,
    ApplyService,
    CommandState,
    CreateDeployment,
    CreateJob,
    DeleteDeployment,
    DeleteJob,
    Deployment,
    Emit,
    EndTraffic,
    Gate,
    Measure,
    Observed,
    Operation,
    Outcome,
    Pause,
    Phase,
    Plan,
    Pod,
    Record,
    Router,
    SetReplicas,
    SetTraffic,
    SetWeight,
    Stage,
    SuspendJob,
    Traffic,
    UpdateDeployment,
    WorkStage,
    newest_schema,
)

SETTLED_WEIGHT = 100


def plan(observed: Observed, now: datetime) -> Plan:
    """The next step for an app, and what to say about it."""
    decided = _plan(observed, now)
    last = operations.last(observed.deployments)
    told = commands.states(observed.app, decided.stable, decided.candidate, last)
    refused = [state for state in told if state.state == "Refused" and not _said_before(observed.app, state)]
    events = tuple(Emit("Warning", "CommandRefused", f"{s.command}={s.value}: {s.message}") for s in refused)
    first: tuple[Action, ...] = ()
    if observed.app.replicas_unset:
        first = (SetReplicas(observed.app.replicas),)
    return replace(decided, actions=(*first, *decided.actions, *events), commands=told)


def _plan(observed: Observed, now: datetime) -> Plan:
    app = observed.app
    if observed.leaving:
        names = ", ".join(observed.leaving)
        said = f"Waits for the end of what an InventoryApp of this name had before: {names}."
        return Plan(Outcome(Phase.PENDING, "AwaitingDeletion", said), check_after=ENDING_SECONDS)
    if observed.foreign:
        names = ", ".join(observed.foreign)
        return Plan(Outcome(Phase.FAILED, "InvalidSpec", f"{names} has another owner: rename it or the InventoryApp."))
    deployments = tuple(d for d in observed.deployments if not d.deleting)
    stable = max((d for d in deployments if d.record.stage is Stage.PROMOTED), key=_revision, default=None)
    target = next((d for d in deployments if d.release == app.release), None)
    release = _Release(observed, now, deployments, stable)

    if at_work := operations.under_way(deployments):
        return release.operate(at_work)
    if ordered := release.ordered_operation(target):
        return ordered
    if target is not None and target is stable:
        return release.rest(stable)
    if app.paused:
        return release.hold(target)
    if target is None:
        return release.begin()
    if release.comes_back(target):
        return release.begin_again(target)
    if target.record.stage is Stage.MIGRATING:
        return release.migrate(target)
    if target.record.stage is Stage.ROLLING:
        return release.roll(target)
    return release.stay_failed(target)


@dataclass(frozen=True)
class _Soak:
    """A contract that is to come: what it waits for, and until when."""

    said: str
    until: datetime | None = None


@dataclass(frozen=True)
class _Release:
    """One pass over one app; each method is a state that a release can be in."""

    observed: Observed
    now: datetime
    deployments: tuple[Deployment, ...]
    stable: Deployment | None

    @property
    def app(self) -> App:
        return self.observed.app

    @property
    def _router(self) -> Router | None:
        """What divides the requests; a first release has nobody to share them with."""
        return self.app.strategy.router if self.stable else None

    @property
    def _on_their_way(self) -> bool:
        """A candidate is, though it may be about to be given up: no work on the database begins beside it."""
        return any(d.record.stage in (Stage.MIGRATING, Stage.ROLLING) for d in self.deployments)

    # --- the way forward ------------------------------------------------------------------------------------------

    def begin(self) -> Plan:
        """New content: write the intent down before the first step."""
        name = f"{self.app.name}-{self.app.release}"
        if any(d.deleting and d.release == self.app.release for d in self.observed.deployments):
            said = f"Deployment {name} is still being deleted."
            return self._going(Phase.PENDING, "AwaitingDeletion", said, *self._settle_stable(None))
        record = self._new_record(Record(0, Stage.MIGRATING, self.now, str(self.app.content["image"])))
        return self._going(
            Phase.PENDING,
            "ReleaseBegun",
            f"Revision {record.revision} begins: {record.image}.",
            *self._settle_stable(None),
            CreateDeployment(self.app.release, record),
            Emit("Normal", "ReleaseBegun", f"Revision {record.revision} begins: {record.image}"),
        )

    def comes_back(self, target: Deployment) -> bool:
        """Whether old content was applied again, or failed content told to try again: both take a new number."""
        record = target.record
        if record.stage in (Stage.PROMOTED, Stage.LEFT):
            return True
        if record.stage is not Stage.FAILED:
            return False
        left_since = record.revision < max(map(_revision, self.deployments))
        return (
            left_since or commands.names(self.app, "retry", record) or operations.made_way_for(target, self.deployments)
        )

    def begin_again(self, target: Deployment) -> Plan:
        """What is known of the image's revisions stays known: it makes a rollback instant."""
        record = self._new_record(target.record)
        said = f"Revision {record.revision} begins: {record.image}, the content of revision {target.record.revision}"
        return self._going(
            Phase.PENDING,
            "ReleaseBegun",
            f"{said}.",
            *self._settle_stable(target),
            UpdateDeployment(target, record=record),
            Emit("Normal", "ReleaseBegun", said),
            candidate=target,
        )

    def migrate(self, target: Deployment) -> Plan:
        """No pod of the release starts before its expand migrations are applied."""
        record, app = target.record, self.app
        if commands.names(app, "abort", record):
            return self._fail(target, "Aborted", "it was aborted")
        if app.migrations is None:
            return self._start_rolling(target, record, None)
        known = newest_schema(self.deployments)
        sure = known is not None and not operations.unclear_since(known[0], self.deployments)
        if record.image_schema and known and sure and not objections(record.image_schema, known[1]):
            return self._start_rolling(target, record, None)
        create = CreateJob(target.release, record.revision, 1, target.image)
        begun = "is migrating" if jobs.attempts(self.observed, record.revision, "expand") else "begins to migrate"
        match jobs.look(self.observed, self.now, self._wanted(create, begun, "MigrationFailed", record.started)):
            case jobs.Going(said, actions, until):
                return self._migrating(target, said, *actions, until=until)
            case jobs.Failed(reason, said, report, actions):
                if reason == "MigrationRefused" and report and objections(report.image, report.database):
                    return self._fail_incompatible(target, said, report)
                return self._fail(target, reason, said, *actions)
            case jobs.Done(_, image_id, report):
                if report is None:
                    raise AssertionError("a run of the migration command is done only with its report")
                if against := objections(report.image, report.database):
                    return self._fail_incompatible(target, against[0], report)
                pin = pinned_image(record.image, image_id)
                seen = replace(record, image_schema=report.image, database_schema=report.database, schema_seen=self.now)
                return self._start_rolling(target, seen, pin)

    def _start_rolling(self, target: Deployment, record: Record, pin: str | None) -> Plan:
        """What has served before, and what nothing serves beside, goes without steps."""
        found = self.app.strategy.steps
        skipped = len(found) if record.served or self.stable is None or not self.app.replicas else 0
        record = replace(
            record,
            stage=Stage.ROLLING,
            ready=0,
            progressed=self.now,
            step=skipped,
            steps=steps.digest(found),
            step_started=self.now,
            routed=0,
            tallies=(),
        )
        return self._going(
            Phase.PROGRESSING,
            "RollingOut",
            f"Revision {record.revision} rolls out.",
            *self._settle_stable(target),
            UpdateDeployment(
                target,
                record=record,
                image=pin if pin != target.image else None,
                restarted=self._wanted_restart(target),
            ),
            Emit("Normal", "RollingOut", f"Revision {record.revision} rolls out: {pin or target.image}"),
            candidate=target,
        )

    def roll(self, target: Deployment) -> Plan:
        """Step by step; each pass brings pods and traffic to where the present step has them."""
        decided = self._roll(target)
        analysis = self.app.analysis
        if analysis is None or target.record.step >= len(self.app.strategy.steps):
            return decided
        soon = min(next_due(m, tally_of(m, target.record.tallies), self.now) for m in analysis.metrics)
        waits = (decided.check_after, self._seconds_to(soon))
        return replace(decided, check_after=min(seconds for seconds in waits if seconds is not None))

    def _roll(self, target: Deployment) -> Plan:
        app, record = self.app, self._as_routed(target.record)
        if commands.names(app, "abort", record):
            return self._fail(target, "Aborted", "it was aborted")
        if record.steps != steps.digest(app.strategy.steps):
            begun = record.step and record.step == steps.count(record)
            anew = replace(record, steps=steps.digest(app.strategy.steps), step=0, step_started=self.now)
            return self._stepped(target, replace(anew, step=len(app.strategy.steps)) if begun else anew, "")
        if record.step < len(app.strategy.steps) and (
            commands.names(app, "promote-full", record) or not app.replicas or self.stable is None
        ):
            last = replace(record, step=len(app.strategy.steps), step_started=self.now, progressed=self.now, held=False)
            return self._stepped(target, last, "skips the rest of its steps")
        if failed := self._analysis_failed(target):
            return failed
        weight = steps.weight(app.strategy, record.step)
        if trouble := self._trouble(target, record, weight):
            return trouble
        if self._carries(target, weight):
            return self._next_step(target, record, weight)
        return self._on_the_way(target, record, weight)

    def _on_the_way(self, target: Deployment, record: Record, weight: int) -> Plan:
        """Replace pods, never below `replicas` less maxUnavailable ready ones, never above `replicas` plus maxSurge."""
        app = self.app
        wanted = steps.pods(app, weight)
        record = self._progress(target, record)
        waiting = self._waiting(target)
        said = f"Revision {record.revision} rolls out: {target.serving} of {wanted} pods are ready"
        if weight < SETTLED_WEIGHT and app.strategy.steps:
            said += f", on the way to {weight} %"
        return self._going(
            Phase.PROGRESSING,
            "RollingOut",
            f"{said}{self._traffic_trouble()}{not_ready([waiting]) if waiting else ''}.",
            *self._carry(target, weight, record),
            candidate=target,
            until=self._overdue(target, record),
            weight=weight,
        )

    def _progress(self, target: Deployment, record: Record) -> Record:
        """The progress deadline counts from when one more pod got ready, and stands still while a database is away."""
        if record.progressed is None or target.serving > record.ready:
            record = replace(record, ready=max(record.ready, target.serving), progressed=self.now)
        elif self._waiting(target) and (self.now - record.progressed).total_seconds() > self.app.progress_deadline / 2:
            record = replace(record, progressed=self.now)  # a database that is away fails no release
        return record

    def _waiting(self, target: Deployment) -> Pod | None:
        return next((p for p in self._pods(target) if p.waits and not p.ready), None)

    def _overdue(self, target: Deployment, record: Record) -> datetime:
        overdue = (record.progressed or self.now) + timedelta(seconds=self.app.progress_deadline)
        pulls = [p for p in self._pods(target) if p.waiting_reason in PULL_TROUBLE]
        limits = (pull_overdue(p, record.started, self.app.image_pull_deadline) for p in pulls)
        return min((overdue, *limits))

    def _trouble(self, target: Deployment, record: Record, weight: int) -> Plan | None:
        """A pod that can't be had, or has not got ready for too long, fails the release."""
        if self._carries(target, weight):
            return None
        for pod in self._pods(target):
            if pod.waiting_reason in PULL_TROUBLE and self.now >= pull_overdue(
                pod, record.started, self.app.image_pull_deadline
            ):
                return self._fail(target, "ImagePullFailed", pull_message(target.image, pod))
        wanted = steps.pods(self.app, weight)
        traffic = self.observed.traffic
        carried = target.settled and target.serving >= wanted
        if carried and not (self._router and traffic and traffic.trouble):
            return None  # it waits for the router, or for other pods to go: no fault of the release
        if self.now < self._overdue(target, self._progress(target, record)):
            return None
        if carried and traffic:
            said = f"the requests could not be divided within {self.app.progress_deadline} s: {traffic.trouble}"
            return self._fail(target, "TrafficNotRouted", said)
        why = f" ({tidy(target.trouble)})" if target.trouble else not_ready(self._pods(target))
        said = f"{target.serving} of {wanted} pods got ready within {self.app.progress_deadline} s{why}"
        return self._fail(target, "ProgressDeadlineExceeded", said)

    def _carries(self, target: Deployment, weight: int) -> bool:
        """The candidate has the pods for its weight, and its requests."""
        wanted = steps.pods(self.app, weight)
        if not (target.settled and target.replicas == wanted and target.serving >= wanted):
            return False
        if self.app.strategy.apart:
            return self._router is None or self._routed(target, weight)
        others = self._others(target)
        return weight == SETTLED_WEIGHT or all(
            d.replicas == count for d in others for count in (balance(self.app, target, others, weight)[d.release],)
        )

    def _next_step(self, target: Deployment, record: Record, weight: int) -> Plan:
        """Pods and traffic are where the step has them: what does it want besides?"""
        found = self.app.strategy.steps
        if record.step >= len(found):
            return self._promote(target)
        number, of = record.step + 1, len(found)
        match found[record.step]:
            case SetWeight(share):
                return self._step_done(target, record, f"has {share} % of the requests")
            case Pause(seconds):
                return self._pausing(target, record, weight, seconds)
            case Gate(job):
                create = CreateJob(target.release, record.revision, 1, target.image, f"gate{number}", (), job)
                since = record.step_started or record.started
                match jobs.look(
                    self.observed, self.now, self._wanted(create, "waits for its gate", "GateFailed", since)
                ):
                    case jobs.Going(said, actions, until):
                        said = f"Revision {record.revision} {said}, step {number} of {of}."
                        return self._stays(target, record, weight, "Gate", said, *actions, until=until)
                    case jobs.Failed(reason, said, _, actions):
                        return self._fail(target, reason, f"step {number}, a gate: {said}", *actions)
                    case jobs.Done():
                        return self._step_done(target, record, f"is through its gate, step {number}")
            case Analyse():
                return self._analysing(target, record, weight)

    def _pausing(self, target: Deployment, record: Record, weight: int, seconds: int | None) -> Plan:
        number, of = record.step + 1, len(self.app.strategy.steps)
        if commands.promotes(self.app, record):
            return self._step_done(target, record, f"was promoted past step {number}")
        at = f"Revision {record.revision} has {weight} % of the requests, step {number} of {of}"
        if seconds is None:
            said = f"{at}; annotate inventory.dev/promote={record.revision}/{number} to go on, or abort it."
            return self._stays(target, record, weight, "AwaitingPromotion", said, phase=Phase.PAUSED)
        until = (record.step_started or self.now) + timedelta(seconds=seconds)
        if self.now >= until:
            return self._step_done(target, record, f"has paused for {seconds} s")
        return self._stays(target, record, weight, "Pausing", f"{at}, for {seconds} s.", until=until)

    def _analysing(self, target: Deployment, record: Record, weight: int) -> Plan:
        number, of = record.step + 1, len(self.app.strategy.steps)
        analysis = self.app.analysis
        if analysis is None:
            return self._step_done(target, record, "has nothing to be analysed by")
        found = verdict(analysis, record.tallies)
        if found.state is State.PASSED:
            return self._step_done(target, record, f"is analysed and found good. {found.message.rstrip('.')}")
        said = f"Revision {record.revision} is analysed, step {number} of {of}. {found.message}"
        return self._stays(target, record, weight, "Analysing", said)

    def _analysis_failed(self, target: Deployment) -> Plan | None:
        """A candidate that is measured and found bad goes; one that can't be judged is held for a person."""
        analysis, record = self.app.analysis, target.record
        if analysis is None or not record.tallies or record.step >= len(self.app.strategy.steps):
            return None
        found = verdict(analysis, record.tallies)
        if found.state is State.FAILED:
            return self._fail(target, "AnalysisFailed", _inner(found))
        if found.state is not State.UNCLEAR:
            return None
        number = record.step + 1
        weight = steps.weight(self.app.strategy, record.step)
        if commands.promotes(self.app, record):
            return self._step_done(target, record, f"was promoted past step {number}, though it could not be judged")
        said = (
            f"Revision {record.revision} can't be judged. {_inner(found)}; annotate "
            f"inventory.dev/promote={record.revision}/{number} to go on all the same, or abort it."
        )
        return self._stays(target, record, weight, "AnalysisInconclusive", said, phase=Phase.PAUSED)

    def _stays(
        self,
        target: Deployment,
        record: Record,
        weight: int,
        reason: str,
        said: str,
        *actions: Action,
        phase: Phase = Phase.PROGRESSING,
        until: datetime | None = None,
    ) -> Plan:
        """The step isn't over; pods and traffic stay as it has them, whatever an autoscaler does meanwhile."""
        events: tuple[Action, ...] = ()
        if record.progressed:
            record = replace(record, progressed=None, ready=0)  # its deadline counts anew if it ever loses pods
        if phase is Phase.PAUSED and not record.held:
            record = replace(record, held=True)  # said once
            events = (Emit("Normal", reason, said),)
        kept = [*self._carry(target, weight, record)]
        if not kept:
            kept += self._restarted_meanwhile(target)
        return self._going(phase, reason, said, *kept, *actions, *events, candidate=target, until=until, weight=weight)

    def _restarted_meanwhile(self, target: Deployment) -> Iterable[Action]:
        """A Secret that is rotated while a candidate waits reaches both releases, one after the other."""
        for deployment in (self.stable, target):
            if deployment and (restarted := self._restart(deployment)):
                yield restarted
                return

    def _step_done(self, target: Deployment, record: Record, said: str) -> Plan:
        following = replace(record, step=record.step + 1, step_started=self.now, progressed=self.now, held=False)
        if record.step + 1 < len(self.app.strategy.steps) and isinstance(
            self.app.strategy.steps[record.step + 1], Analyse
        ):
            following = replace(following, tallies=())  # it counts from here
        return self._stepped(target, following, said)

    def _stepped(self, target: Deployment, record: Record, said: str) -> Plan:
        sentence = f"Revision {record.revision} {said}" if said else f"Revision {record.revision} begins its steps anew"
        return self._going(
            Phase.PROGRESSING,
            "StepDone",
            f"{sentence}.",
            UpdateDeployment(target, record=record),
            Emit("Normal", "StepDone", sentence),
            candidate=target,
            weight=steps.weight(self.app.strategy, record.step),
        )

    def _promote(self, target: Deployment) -> Plan:
        record = replace(
            target.record,
            stage=Stage.PROMOTED,
            ended=self.now,
            ready=0,
            progressed=None,
            reason="",
            message="",
            held=False,
            served=True,
            tallies=(),
        )
        said = f"Revision {record.revision} serves"
        return self._going(
            Phase.PROGRESSING,
            "Promoted",
            f"{said}.",
            UpdateDeployment(target, record=record),
            Emit("Normal", "Promoted", f"{said}: {target.image}"),
            candidate=target,
            weight=SETTLED_WEIGHT,
        )

    # --- pods and traffic of a candidate --------------------------------------------------------------------------

    def _carry(self, target: Deployment, weight: int, record: Record) -> Iterable[Action]:
        """Towards the pods and the traffic that this weight means; measures what is due, and keeps the record."""
        strategy = self.app.strategy
        measure = self._measure(target, record, weight)
        changed = UpdateDeployment(target, record=record) if record != target.record else None
        if self._leads_elsewhere(target, weight):
            yield from self._take_back(target, weight, changed)
            return
        yield from self._serve_candidate(target.release)
        if strategy.apart:
            yield from self._serve_stable(self.stable) if self.stable else self._serve(target.release)
            yield from self._scale_apart(target, weight, changed)
            yield from self._route(target, weight)
        else:
            others = self._others(target)
            alone = not any(d.pods or d.replicas for d in others)
            whole = weight if self.stable else SETTLED_WEIGHT
            if whole == 0 and self.stable:
                yield from self._serve_stable(self.stable)
            else:
                yield from self._serve(target.release if alone else None)
            yield from self._scale(target, others, changed, whole)
        if measure:
            yield measure

    def _leads_elsewhere(self, target: Deployment, weight: int) -> bool:
        """The router sends requests to another release by the candidate's Service, and this one can't or mustn't yet.

        That is the candidate that it supersedes, or the stable release if its promotion had just begun.
        """
        traffic, service = self.observed.traffic, self.observed.candidate_service
        if self._router is None or traffic is None or traffic.trouble or not traffic.weight or service is None:
            return False
        able = traffic.weight <= weight and target.serving >= routed_share(traffic.weight, self.app.replicas)
        return service.release != target.release and not able

    def _take_back(self, target: Deployment, weight: int, changed: UpdateDeployment | None) -> Iterable[Action]:
        """The stable release gets its pods back, and as it does the requests; those that carry them till then stay."""
        stable, traffic, replicas = self.stable, self.observed.traffic, self.app.replicas
        service, candidate = self.observed.service, self.observed.candidate_service
        wanted = min(steps.pods(self.app, weight), replicas)
        if target.replicas < wanted:
            changed = replace(changed or UpdateDeployment(target), replicas=wanted)
        if changed:
            yield changed
        if stable is None or traffic is None:
            return
        yield from self._serve_stable(stable)
        if stable.replicas != replicas:
            yield UpdateDeployment(stable, replicas=replicas)
        if service and service.release == stable.release and not self._third_party(traffic.weight):
            finished = candidate is not None and candidate.release == stable.release
            less = 0 if finished else self._less(traffic, stable)
            if less != traffic.weight:
                yield SetTraffic(less)

    def _less(self, traffic: Traffic, stable: Deployment, wanted: int = 0) -> int:
        """The candidate's weight, down towards `wanted` to what the stable release can't bear yet.

        In a user's own route one between those of the steps could not be told from somebody else's: all or nothing.
        """
        weight = min(traffic.weight, bearable_weight(wanted, stable, self.app.replicas))
        router = self.app.strategy.router
        return traffic.weight if weight > wanted and router and router.kind == "httpRoute" else weight

    def _scale_apart(self, target: Deployment, weight: int, changed: UpdateDeployment | None) -> Iterable[Action]:
        """Each release has the pods for its own share; neither waits for the other's."""
        app = self.app
        wanted = steps.pods(app, weight)
        update = changed
        if target.replicas != wanted:
            # Pods are taken away only when the router no longer sends what they carried.
            unneeded = wanted > target.replicas or self._router is None or self._routed(target, weight)
            if unneeded or target.replicas > app.replicas:
                update = replace(update or UpdateDeployment(target), replicas=min(wanted, app.replicas))
        if update:
            yield update
        service = self.observed.service
        # Until then the requests are with the one before it.
        led = self.stable is None or (service is not None and service.release == self.stable.release)
        for other in self._others(target):
            if other is self.stable:
                kept = app.replicas
                if app.strategy.dynamic_stable_scale and app.strategy.router:
                    at = self.observed.traffic.weight if self.observed.traffic else 0
                    kept = stable_share(min(at, weight), app.replicas)
                if other.replicas != kept:
                    yield UpdateDeployment(other, replicas=kept)
            elif other.replicas and led:
                yield UpdateDeployment(other, replicas=0)

    def _route(self, target: Deployment, weight: int) -> Iterable[Action]:
        """The router gets a weight only when the pods that are to carry it are ready."""
        traffic = self.observed.traffic
        if self._router is None or traffic is None or traffic.trouble or self._third_party(traffic.weight):
            return
        ready = target.serving >= routed_share(weight, self.app.replicas)
        there = (
            self.observed.candidate_service is not None and self.observed.candidate_service.release == target.release
        )
        if self.stable and weight < traffic.weight:
            weight = self._less(traffic, self.stable, weight)
        if ready and there and not self._routed(target, weight):
            yield SetTraffic(weight)

    def _as_routed(self, record: Record) -> Record:
        """Keep what the router was seen to have from us: anything else later is somebody else's doing."""
        traffic = self.observed.traffic
        wanted = steps.weight(self.app.strategy, record.step)
        if traffic and not traffic.trouble and traffic.weight == wanted != record.routed:
            return replace(record, routed=traffic.weight)
        return record

    def _routed(self, target: Deployment, weight: int) -> bool:
        traffic, service = self.observed.traffic, self.observed.candidate_service
        if service is None or service.release != target.release:
            return False
        if traffic is None or traffic.trouble or traffic.weight != weight or not traffic.as_wanted:
            return False
        by_header = self._router is not None and bool(self._router.options)
        return traffic.present or not by_header  # a header leads to the candidate at any weight

    def _third_party(self, seen: int) -> bool:
        """A user's own route that has a weight which is neither ours of before nor the one that we want."""
        router = self.app.strategy.router
        if router is None or router.kind != "httpRoute":
            return False
        ours = {0, SETTLED_WEIGHT}
        for record in (
            d.record for d in self.deployments if d.record.stage in (Stage.ROLLING, Stage.FAILED, Stage.LEFT)
        ):
            ours |= {record.routed, steps.weight(self.app.strategy, record.step)}
        return seen not in ours

    def _traffic_trouble(self) -> str:
        traffic, router = self.observed.traffic, self.app.strategy.router
        if traffic is None or router is None:
            return ""
        if traffic.trouble:
            return f"; {traffic.trouble}"
        if self._third_party(traffic.weight):
            return (
                f"; somebody else has set the weight in HTTPRoute {router.name} to {traffic.weight}, and it is left so"
            )
        return ""

    def _measure(self, target: Deployment, record: Record, weight: int) -> Measure | None:
        """What is due, while the candidate has requests or an analysis is its present step."""
        found, analysis = self.app.strategy.steps, self.app.analysis
        if analysis is None or record.step >= len(found) or record != target.record:
            return None  # a record that is to be written goes first: the answers are written into it
        analysing = isinstance(found[record.step], Analyse)
        if not (weight or analysing) or not self._carries(target, weight):
            return None
        due = due_metrics(analysis, record.tallies, self.now)
        return Measure(target, due, self.stable.release if self.stable else "") if due else None

    # --- at rest, held, failed ------------------------------------------------------------------------------------

    def rest(self, stable: Deployment) -> Plan:
        """The content that the spec asks for serves. What was on its way is given up."""
        app = self.app
        _, unavailable = amounts(app)
        actions = [*self._settle(stable), *self._leave_others(stable, "Aborted"), *self._forget(stable)]
        enough = stable.serving >= min(app.replicas, max(1, app.replicas - unavailable))
        said = f"Revision {stable.record.revision} serves with {stable.serving} of {app.replicas} pods"
        soaking = _Soak("")
        if enough and not app.paused and not self._on_their_way:
            begun = self._contract_due(stable)
            if isinstance(begun, Plan):
                return begun
            if restarted := self._restart(stable):
                actions.append(restarted)
            soaking = begun or soaking
        if not enough:
            outcome = Outcome(Phase.PROGRESSING, "PodsNotReady", f"{said}{not_ready(self._pods(stable))}.")
        elif app.paused:
            outcome = Outcome(Phase.PAUSED, "Paused", f"{said}; releases are paused.")
        else:
            outcome = Outcome(Phase.HEALTHY, "Serving", f"{said}{soaking.said}.")
        until = min((u for u in (soaking.until, self._warm_until(stable)) if u), default=None)
        return Plan(outcome, _merged(actions), self._seconds_to(until), stable=stable)

    def hold(self, target: Deployment | None) -> Plan:
        """Paused: nothing begins and nothing moves on; the stable release alone still follows `replicas`.

        What rolls out keeps the pods and the requests that it has, and its progress deadline stands still.
        """
        stable = self.stable
        rolling = [d for d in self.deployments if d.record.stage is Stage.ROLLING]
        held = max(rolling, key=_revision, default=target)
        if held and held.record.stage is Stage.ROLLING and commands.names(self.app, "abort", held.record):
            return self._fail(held, "Aborted", "it was aborted")
        actions: list[Action] = []
        if held and held.record.progressed:
            actions.append(UpdateDeployment(held, record=replace(held.record, progressed=None)))
        if stable and held and held.replicas:
            actions += self._complement(stable, held)
        elif stable:
            actions += self._settle(stable)
        total = self.app.replicas
        serving = " and ".join(
            f"revision {d.record.revision} serves with {d.serving} of {total} pods"
            for d in (stable, held)
            if d and d.serving
        )
        said = f"Releases are paused; {serving or 'nothing serves'}. Remove spec.paused to go on."
        outcome = Outcome(Phase.PAUSED, "Paused", said)
        weight = self.observed.traffic.weight if self.observed.traffic else 0
        return Plan(outcome, _merged(actions), stable=stable, candidate=held, weight=weight)

    def _complement(self, stable: Deployment, held: Deployment) -> Iterable[Action]:
        """Stable pods for what the held release's ready ones leave of `replicas`; only the surge takes any away."""
        app = self.app
        if held.replicas > app.replicas:
            yield UpdateDeployment(held, replicas=app.replicas)
        if app.strategy.apart:
            yield from self._serve_stable(stable)
            kept = app.replicas
            if app.strategy.dynamic_stable_scale and self.observed.traffic:
                kept = max(stable_share(self.observed.traffic.weight, app.replicas), min(stable.replicas, app.replicas))
            if stable.replicas != kept:
                yield UpdateDeployment(stable, replicas=kept)
            return
        whole = steps.weight(app.strategy, held.record.step) == 0
        yield from self._serve_stable(stable) if whole else self._serve(None)
        surge, _ = amounts(app)
        others = sum(min(d.replicas, app.replicas) if d is held else d.replicas for d in self._others(stable))
        room = max(0, app.replicas + surge - others)
        missing = app.replicas if whole else max(0, app.replicas - held.serving)
        raised = min(missing, max(stable.replicas, room))
        kept = min(stable.replicas, room, app.replicas)
        if max(raised, kept) != stable.replicas:
            yield UpdateDeployment(stable, replicas=max(raised, kept))

    def stay_failed(self, target: Deployment) -> Plan:
        """A failed release isn't tried again until told; the stable one serves on, untouched.

        A first release has nothing to go back to: what there is of it stays, and serves if it gets ready after all.
        """
        record, stable = target.record, self.stable
        if stable is None and record.reason == "ProgressDeadlineExceeded":
            if self._complete(target):
                return self._promote(target)
            others = self._others(target)
            alone = not any(d.serving for d in others)
            actions = [*self._serve(target.release if alone else None), *self._scale(target, others)]
        elif record.held and stable and not commands.names(self.app, "abort", record):
            if commands.promotes(self.app, record) or commands.names(self.app, "promote-full", record):
                return self._thaw(target)
            actions = list(self._complement(stable, target))
        else:
            actions = []
            if record.held:
                actions.append(UpdateDeployment(target, record=replace(record, held=False)))
            actions += self._settle(stable) if stable else []
            if stable and not actions and (restarted := self._restart(stable)):
                actions.append(restarted)
        outcome = Outcome(Phase.FAILED, record.reason, self._failed_message(record))
        return Plan(outcome, _merged(actions), stable=stable, candidate=target)

    def _complete(self, target: Deployment) -> bool:
        replicas = self.app.replicas
        return target.settled and target.replicas == replicas and target.serving >= replicas

    def _thaw(self, target: Deployment) -> Plan:
        """A frozen release goes on where it was, because a person says so."""
        record = replace(
            target.record,
            stage=Stage.ROLLING,
            step=min(target.record.step + 1, len(self.app.strategy.steps)),
            step_started=self.now,
            progressed=self.now,
            ready=0,
            reason="",
            message="",
            ended=None,
            held=False,
            tallies=(),
        )
        return self._stepped(target, record, "goes on, as it was told")

    def _fail(self, target: Deployment, reason: str, message: str, *actions: Action) -> Plan:
        frozen = (
            self.app.freeze and target.record.stage is Stage.ROLLING and self.stable is not None and reason != "Aborted"
        )
        record = replace(
            target.record,
            stage=Stage.FAILED,
            reason=reason,
            message=message,
            ended=self.now,
            ready=0,
            progressed=None,
            held=frozen,
        )
        kept: Iterable[Action] = ()
        if self.stable and not frozen and target.record.stage is Stage.ROLLING:
            kept = (a for a in self._settle(self.stable) if isinstance(a, SetTraffic))  # back on stable at once
        return Plan(
            Outcome(Phase.FAILED, reason, self._failed_message(record)),
            (
                UpdateDeployment(target, record=record),
                *kept,
                *actions,
                Emit("Warning", reason, f"Revision {record.revision} failed: {message}"),
            ),
            stable=self.stable,
            candidate=target,
        )

    def _fail_incompatible(self, target: Deployment, why: str, report: jobs.Report) -> Plan:
        """What was seen stays known: a way back that is ordered must know what the release needs."""
        seen = replace(target.record, image_schema=report.image, database_schema=report.database, schema_seen=self.now)
        looked = replace(target, record=seen)
        message = f"{why.rstrip('.')}; {operations.ways_out(self.app, looked, self.deployments, report.database)}"
        return self._fail(looked, "SchemaIncompatible", message)

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
            f"Revision {record.revision} failed: {record.message}. {serving}; apply other content, "
            f"or annotate inventory.dev/retry={record.revision} to try it again."
        )

    # --- the database besides expand ------------------------------------------------------------------------------

    def ordered_operation(self, target: Deployment | None) -> Plan | None:
        """What was ordered begins when nothing else is under way; what makes no sense is refused and said."""
        found = commands.operation_ordered(self.app, operations.last_number(self.app, self.deployments))
        if found is None or self.app.migrations is None:
            return None
        if self._on_their_way and found.command != "restore":
            return None
        if found.command == "contract" and (target is None or target is not self.stable):
            return None
        holder = self.stable or max(self.deployments, key=_revision, default=None)
        if holder is None:
            return None
        begun = operations.ordered(self.app, found, holder, self.deployments, self.now)
        return self._operation(holder, begun)

    def _contract_due(self, stable: Deployment) -> "Plan | _Soak | None":
        """The contract begins, or what it waits for; None if there is nothing to contract."""
        migrations = self.app.migrations
        pending = operations.pending_contract(stable, self.deployments)
        if migrations is None or not pending or not stable.record.ended:
            return None
        names, number = ", ".join(pending), operations.last_number(self.app, self.deployments) + 1
        if not migrations.contract.automatic or operations.manual(stable, self.deployments):
            order = f"inventory.dev/contract={self.app.uid}/{stable.record.revision}/{number}"
            return _Soak(f"; contract {names} waits for the order {order}")
        due = stable.record.ended + timedelta(seconds=migrations.contract.soak)
        if self.now < due:
            return _Soak(f"; contract {names} follows at {due:%Y-%m-%d %H:%M:%S} UTC", due)
        return self._operation(stable, operations.contract(number, stable, self.deployments, self.now))

    def _operation(self, holder: Deployment, begun: Operation) -> Plan:
        said = operations.sentence(begun)
        kind = "Warning" if begun.stage is WorkStage.FAILED else "Normal"
        known = newest_schema(self.deployments)
        if known and operations.unclear_since(known[0], self.deployments):
            begun = replace(begun, unclear=True)  # it takes the place of the one that left it so
        record = replace(holder.record, operation=begun)
        return Plan(
            Outcome(operations.PHASES[begun.kind], "OperationBegun", f"{said}."),
            (UpdateDeployment(holder, record=record), Emit(kind, f"{begun.kind.value.title()}Begun", said)),
            stable=self.stable,
        )

    def operate(self, holder: Deployment) -> Plan:
        """Work on the database that is under way: nothing else begins before it ends."""
        doing = operations.go_on(self.observed, self.now, self.deployments, holder)
        if doing.stops_service:
            kept: list[Action] = [UpdateDeployment(d, replicas=0) for d in self.deployments if d.replicas]
        else:
            kept = self._settle(holder, warm=False)
        operation = holder.record.operation
        if operation is None:
            raise AssertionError("what is under way has a record")
        return Plan(
            Outcome(operations.PHASES[operation.kind], doing.reason, f"{doing.said}."),
            _merged((*kept, *doing.actions)),
            self._seconds_to(doing.until),
            stable=self.stable,
        )

    # --- parts ----------------------------------------------------------------------------------------------------

    def _wanted(self, create: CreateJob, what: str, failure: str, since: datetime) -> jobs.Wanted:
        return jobs.Wanted(create, what, failure, since, self.app.image_pull_deadline)

    def _pods(self, deployment: Deployment) -> list[Pod]:
        return [p for p in self.observed.pods if p.owner == deployment.release and not p.deleting]

    def _seconds_to(self, until: datetime | None) -> float | None:
        """Not sooner than in half a second: what is past by then has been looked at."""
        return max(0.5, (until - self.now).total_seconds()) if until else None

    def _new_record(self, old: Record) -> Record:
        numbers = [d.record.revision for d in self.observed.deployments]
        numbers += [int(entry["revision"]) for entry in self.app.status.get("history", ())]
        return replace(
            old,
            revision=max(numbers, default=0) + 1,
            stage=Stage.MIGRATING,
            started=self.now,
            ended=None,
            reason="",
            message="",
            ready=0,
            progressed=None,
            step=0,
            steps="",
            step_started=None,
            routed=0,
            tallies=(),
            held=False,
        )

    def _others(self, keep: Deployment) -> list[Deployment]:
        return [d for d in self.deployments if d is not keep]

    def _leave_others(self, keep: Deployment, reason: str) -> Iterable[Action]:
        for other in self._others(keep):
            record = other.record
            if record.stage in (Stage.MIGRATING, Stage.ROLLING):
                record = replace(record, stage=Stage.LEFT, reason=reason, ended=self.now, progressed=None, ready=0)
                yield UpdateDeployment(other, record=record)
                yield Emit("Normal", reason, f"Revision {record.revision} was given up")
            elif record.stage is Stage.FAILED and reason == "Aborted":
                yield UpdateDeployment(other, record=replace(record, stage=Stage.LEFT, held=False))
        for job in self.observed.jobs:
            if job.gate and job.active and job.revision != keep.record.revision:
                yield SuspendJob(job)

    def _settle(self, keep: Deployment, *, warm: bool = True) -> list[Action]:
        """Bring one release to full strength, then take the requests, and then the pods, of the others away."""
        app = self.app
        others = self._others(keep)
        _, unavailable = amounts(app)
        alone = not any(d.pods or d.replicas for d in others)
        enough = keep.serving >= app.replicas - unavailable and (keep.serving or not app.replicas)
        full = keep.settled and bool(enough)
        if not app.strategy.apart and self.observed.traffic is None:
            served = keep.release if full or alone else None
            scaled = self._scale(keep, self._but_warm(keep, others) if warm else others)
            return [*self._serve(served), *scaled, *self._serve_candidate(keep.release)]
        return list(self._settle_apart(keep, others, full=full, alone=alone, warm=warm))

    def _settle_apart(
        self, keep: Deployment, others: list[Deployment], *, full: bool, alone: bool, warm: bool
    ) -> Iterable[Action]:
        app, traffic, service = self.app, self.observed.traffic, self.observed.service
        if keep.replicas != app.replicas:
            yield UpdateDeployment(keep, replicas=app.replicas)
        promoted = service is not None and service.release == keep.release
        # A release that was promoted has its requests by the candidate's Service until the stable one selects it.
        if full or alone or promoted:
            yield from self._serve(keep.release)
        weight = 0
        if traffic and not traffic.trouble and (promoted or service is None):
            weight = self._less(traffic, keep)
            to_keep = self.observed.candidate_service and self.observed.candidate_service.release == keep.release
            if to_keep:
                weight = 0
            if traffic.weight != weight and not self._third_party(traffic.weight):
                yield SetTraffic(weight)
            elif traffic.weight == 0 and to_keep and traffic.present:
                yield EndTraffic()
        quiet = promoted and (traffic is None or traffic.trouble or traffic.weight == 0)
        if quiet or alone:
            yield from self._serve_candidate(keep.release)
            staying = {d.release for d in others} - {d.release for d in self._but_warm(keep, others)} if warm else set()
            for other in others:
                wanted = min(other.replicas, app.replicas) if other.release in staying else 0
                if full and other.replicas != wanted:
                    yield UpdateDeployment(other, replicas=wanted)
        if not full:
            for other in others:
                if other.record.stage is not Stage.FAILED and other.replicas > app.replicas:
                    yield UpdateDeployment(other, replicas=app.replicas)

    def _but_warm(self, keep: Deployment, others: list[Deployment]) -> list[Deployment]:
        """Others without the former stable release, while it is kept warm."""
        until = self._warm_until(keep)
        if until is None:
            return others
        former = max((d for d in others if d.record.stage is Stage.PROMOTED), key=_revision, default=None)
        return [d for d in others if d is not former]

    def _warm_until(self, keep: Deployment) -> datetime | None:
        strategy = self.app.strategy
        if not strategy.warm or keep.record.stage is not Stage.PROMOTED or keep.record.ended is None:
            return None
        until = keep.record.ended + timedelta(seconds=strategy.warm)
        return until if self.now < until else None

    def _settle_stable(self, target: Deployment | None) -> Iterable[Action]:
        """The stable release at full strength as long as the next one has no pods: it follows `replicas` meanwhile."""
        if self.stable and not (target and target.replicas):
            yield from self._settle(self.stable, warm=False)

    def _serve(self, release: str | None) -> Iterable[Action]:
        service = self.observed.service
        if service is None or not service.as_wanted or service.release != release:
            yield ApplyService(release)

    def _serve_stable(self, stable: Deployment) -> Iterable[Action]:
        """The stable release alone, but not before it has the pods for what others may carry meanwhile."""
        service, (_, unavailable) = self.observed.service, amounts(self.app)
        able = stable.settled and stable.serving >= self.app.replicas - unavailable
        if service is None or service.release == stable.release or able:
            yield from self._serve(stable.release)

    def _serve_candidate(self, release: str) -> Iterable[Action]:
        """Only with a strategy that needs it, or when it is there from one that did."""
        service = self.observed.candidate_service
        if service is None and self.app.strategy.kind == "rolling":
            return
        if service is None or not service.as_wanted or service.release != release:
            yield ApplyService(release, candidate=True)

    def _scale(
        self,
        keep: Deployment,
        others: list[Deployment],
        changed: UpdateDeployment | None = None,
        weight: int = SETTLED_WEIGHT,
    ) -> Iterable[Action]:
        wanted = balance(self.app, keep, others, weight)
        for deployment in (*others, keep):
            replicas = wanted[deployment.release]
            update = changed if deployment is keep else None
            if replicas != deployment.replicas:
                update = replace(update or UpdateDeployment(deployment), replicas=replicas)
            if update:
                yield update

    def _restart(self, stable: Deployment) -> UpdateDeployment | None:
        """New pods for a rotated Secret or an order; the Deployment's own rolling update brings a new one up first."""
        if not stable.restarted and not stable.record.secrets and self.app.secrets:
            # An older operator has made these pods. They have run with what there is: an upgrade restarts nothing.
            return UpdateDeployment(stable, record=replace(stable.record, secrets=self.app.secrets))
        wanted = self._wanted_restart(stable)
        if wanted is None or not stable.settled or stable.serving < stable.replicas:
            return None
        return UpdateDeployment(stable, restarted=wanted)

    def _wanted_restart(self, deployment: Deployment) -> str | None:
        """What the pods are to be started for, if that is news: the digest of their Secrets, and the last order."""
        digest, _, token = (deployment.restarted or deployment.record.secrets).partition(" ")
        found = commands.order(self.app, "restart")
        if found and found.revision == deployment.record.revision and found.value != token:
            token = found.value
        wanted = f"{self.app.secrets or digest} {token}".rstrip() if token else (self.app.secrets or digest)
        return wanted if wanted != (deployment.restarted or deployment.record.secrets) else None

    def _forget(self, stable: Deployment) -> Iterable[Action]:
        """Keep the history short; the highest revision stays, so that a number is never given twice."""
        highest = max(map(_revision, self.deployments))
        idle = [d for d in self._others(stable) if not d.replicas and not d.pods]
        idle.sort(key=_revision, reverse=True)
        for old in idle[self.app.history_limit :]:
            if old.record.revision != highest:
                yield DeleteDeployment(old)
        kept = {d.record.revision for d in self.deployments}
        for job in self.observed.jobs:
            if not job.active and not job.deleting and job.revision not in kept:
                yield DeleteJob(job)

    def _going(
        self,
        phase: Phase,
        reason: str,
        message: str,
        *actions: Action,
        candidate: Deployment | None = None,
        until: datetime | None = None,
        weight: int = 0,
    ) -> Plan:
        """A pass of a release under way. Whatever else was on its way is superseded by it."""
        given_up = self._leave_others(candidate, "Superseded") if candidate else ()
        outcome = Outcome(phase, reason, message)
        return Plan(
            outcome,
            _merged((*actions, *given_up)),
            self._seconds_to(until),
            stable=self.stable,
            candidate=candidate,
            weight=weight,
        )

    def _migrating(self, target: Deployment, what: str, *actions: Action, until: datetime | None = None) -> Plan:
        said = f"Revision {target.record.revision} {what}."
        kept = self._settle_stable(target)
        return self._going(Phase.MIGRATING, "Migrating", said, *kept, *actions, candidate=target, until=until)


# --- rules without a world ----------------------------------------------------------------------------------------


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


def _revision(deployment: Deployment) -> int:
    return deployment.record.revision


def _said_before(app: App, state: CommandState) -> bool:
    said = {(s.get("command"), s.get("value"), s.get("state")) for s in app.status.get("commands", ())}
    return (state.command, state.value, state.state) in said


def _merged(actions: Iterable[Action]) -> tuple[Action, ...]:
    """One write an object a pass: a second one would carry an outdated resource version.

    It comes where the first one was, before the Event that tells of it.
    """
    places: dict[str, int] = {}
    result: list[Action] = []
    for action in actions:
        if isinstance(action, UpdateDeployment):
            place = places.setdefault(action.deployment.release, len(result))
            if place < len(result):
                before = result[place]
                assert isinstance(before, UpdateDeployment)  # noqa: S101 - that is what places says
                result[place] = UpdateDeployment(
                    action.deployment,
                    replicas=before.replicas if action.replicas is None else action.replicas,
                    record=action.record or before.record,
                    image=action.image or before.image,
                    restarted=action.restarted or before.restarted,
                )
                continue
        result.append(action)
    return tuple(result)
