"""The decision: from what was observed and the time to what is to be done. Pure: a test is values in, values out.

A release goes begin -> migrate -> roll -> promote. Each pass takes the next step that the facts allow and no more;
the facts of the following pass tell whether it happened. Nothing is remembered between passes.
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema, objections, spelled_out

from .model import (
    PULL_TROUBLE,
    Action,
    App,
    ApplyService,
    CreateDeployment,
    CreateJob,
    DeleteDeployment,
    DeleteJob,
    Deployment,
    Emit,
    Job,
    Observed,
    Outcome,
    Phase,
    Plan,
    Pod,
    Record,
    SetReplicas,
    Stage,
    SuspendJob,
    UpdateDeployment,
    newest_schema,
)

MAX_UNREPORTED = 3
"""Migration Jobs of one release that may end without a report (their pod was removed) before the release fails."""
PODLESS_SECONDS = 10.0
"""A Job without a pod for so long has one refused, as by a quota."""
ENDING_SECONDS = 1.0
"""How soon to look again at what is about to end; not everything that ends is watched."""


def plan(observed: Observed, now: datetime) -> Plan:
    """The next step for an app, and what to say about it."""
    decided = _plan(observed, now)
    if observed.app.replicas_unset:
        return replace(decided, actions=(SetReplicas(observed.app.replicas), *decided.actions))
    return decided


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
class _Release:
    """One pass over one app; each method is a state that a release can be in."""

    observed: Observed
    now: datetime
    deployments: tuple[Deployment, ...]
    stable: Deployment | None

    @property
    def app(self) -> App:
        return self.observed.app

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
        left_since = record.revision < max(map(_revision, self.deployments))
        return record.stage is Stage.FAILED and (left_since or self.app.retry == record.revision)

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
        if app.migrations is None:
            return self._start_rolling(target, record, None)
        known = newest_schema(self.deployments)
        if record.image_schema and known and not objections(record.image_schema, known[1]):
            return self._start_rolling(target, record, None)
        job = max((j for j in self.observed.jobs if j.revision == record.revision), key=_attempt, default=None)
        if job is None:
            return self._first_job(target)
        if job.deleting:
            return self._migrating(target, f"waits for the end of Job {job.name}, which is being deleted")
        pods = self._pods_of(job)
        report = next((r for p in reversed(pods) if (r := Report.parse(p))), None)
        if job.complete:
            if report is None:
                return self._job_without_report(target, job)
            if against := objections(report.image, report.database):
                return self._fail_incompatible(target, against[0], report.database)
            pin = pinned_image(record.image, next((p.image_id for p in reversed(pods) if p.image_id), ""))
            seen = replace(record, image_schema=report.image, database_schema=report.database, schema_seen=self.now)
            return self._start_rolling(target, seen, pin)
        if job.failed:
            return self._job_failed(target, job, report, pods)
        if job.suspended:
            return self._migrating(target, f"waits: Job {job.name} is suspended, and goes on when that is taken back")
        return self._job_running(target, job, report, pods)

    def _first_job(self, target: Deployment) -> Plan:
        """A superseded release's Job ends first; one that has nothing running is stopped."""
        active = [job for job in self.observed.jobs if job.active and not job.deleting]
        if active:
            idle = [job for job in active if self._is_idle(job)]
            names = ", ".join(job.name for job in active)
            return self._migrating(target, f"waits for the end of Job {names}", *map(SuspendJob, idle))
        return self._start_job(target, 1, "begins to migrate")

    def _start_job(self, target: Deployment, attempt: int, said: str) -> Plan:
        """Never two at once: none begins while a pod may still migrate, whatever became of that pod's Job."""
        unfinished = [p.name for p in self.observed.pods if p.migrates and not p.finished]
        if unfinished:
            soon = self.now + timedelta(seconds=ENDING_SECONDS)
            return self._migrating(target, f"waits for the end of pod {', '.join(unfinished)}", until=soon)
        return self._migrating(target, said, CreateJob(target.release, target.record.revision, attempt, target.image))

    def _is_idle(self, job: Job) -> bool:
        """Nothing of it runs or is about to."""
        pods = self._pods_of(job)
        return all(p.finished or p.cannot_start for p in pods) if pods else self.now >= _podless(job)

    def _pods_of(self, job: Job) -> list[Pod]:
        """Oldest first."""
        return sorted((p for p in self.observed.pods if p.owner == job.uid), key=lambda p: p.created)

    def _job_running(self, target: Deployment, job: Job, report: "Report | None", pods: list[Pod]) -> Plan:
        present = [p for p in pods if not p.finished and not p.deleting]
        for pod in present:
            if pod.waiting_reason in PULL_TROUBLE:
                overdue = self._pull_overdue(target, pod)
                if self.now >= overdue or pod.waiting_reason == "InvalidImageName":
                    return self._fail(target, "ImagePullFailed", _pull_message(target, pod), SuspendJob(job))
                return self._migrating(target, f"can't pull its image: {_tidy(pod.waiting_message)}", until=overdue)
            if pod.cannot_start:
                return self._migrating(target, f"can't start its migration: {_tidy(pod.waiting_message)}")
        if report and report.result == "waiting":
            return self._migrating(target, f"waits: {report.error}")
        if not pods and self.now >= _podless(job):
            return self._migrating(target, f"gets no pod for its migration: kubectl describe job {job.name} says why")
        return self._migrating(target, f"is migrating (Job {job.name})", until=None if pods else _podless(job))

    def _pull_overdue(self, target: Deployment, pod: Pod) -> datetime:
        """Waiting for a node is not waiting for an image, and a pod of an earlier try counts from this one's begin."""
        since = max(pod.scheduled or pod.created, target.record.started)
        return since + timedelta(seconds=self.app.image_pull_deadline)

    def _job_without_report(self, target: Deployment, job: Job) -> Plan:
        if job.attempt >= MAX_UNREPORTED:
            return self._fail(target, "MigrationFailed", f"Job {job.name} succeeded, but its report was lost each time")
        return self._start_job(target, job.attempt + 1, "asks once more what was migrated")

    def _job_failed(self, target: Deployment, job: Job, report: "Report | None", pods: list[Pod]) -> Plan:
        if report and report.result == "waiting":
            return self._start_job(target, job.attempt + 1, f"waits: {report.error}")
        if report and report.result == "refused":
            if objections(report.image, report.database):
                return self._fail_incompatible(target, report.error, report.database)
            return self._fail(target, "MigrationRefused", report.error)
        if report and report.result == "failed":
            return self._fail(target, "MigrationFailed", report.error)
        if job.reason == "DeadlineExceeded":
            # The command itself ends a migration that takes too long, so this one was waiting, as for a node.
            if job.attempt < MAX_UNREPORTED:
                return self._start_job(target, job.attempt + 1, f"waits: Job {job.name} did not get to its end in time")
            said = f"Job {job.name} was stopped at its deadline, as {job.attempt - 1} before it, and left no report"
            return self._fail(target, "MigrationFailed", said)
        said = next((_tidy(p.termination_message) for p in reversed(pods) if p.termination_message), "") or job.message
        return self._fail(target, "MigrationFailed", f"Job {job.name} failed: {said}")

    def _start_rolling(self, target: Deployment, record: Record, pin: str | None) -> Plan:
        record = replace(record, stage=Stage.ROLLING, ready=0, progressed=self.now)
        return self._going(
            Phase.PROGRESSING,
            "RollingOut",
            f"Revision {record.revision} rolls out.",
            UpdateDeployment(target, record=record, image=pin if pin != target.image else None),
            Emit("Normal", "RollingOut", f"Revision {record.revision} rolls out: {pin or target.image}"),
            candidate=target,
        )

    def roll(self, target: Deployment) -> Plan:
        """Replace pods, never below `replicas` less maxUnavailable ready ones, never above `replicas` plus maxSurge."""
        app, record = self.app, target.record
        pods = [p for p in self.observed.pods if p.owner == target.release and not p.deleting]
        if self._complete(target):
            return self._promote(target)
        progressed = record.progressed
        if progressed is None or target.serving > record.ready:  # None: it comes out of a pause
            progressed = self.now
            record = replace(record, ready=max(record.ready, target.serving), progressed=progressed)
        waiting = next((p for p in pods if p.waits and not p.ready), None)
        if waiting and (self.now - progressed).total_seconds() > app.progress_deadline / 2:
            progressed = self.now  # a database that is away fails no release
            record = replace(record, progressed=progressed)
        overdue = progressed + timedelta(seconds=app.progress_deadline)
        for pod in pods:
            if pod.waiting_reason in PULL_TROUBLE:
                pull_overdue = self._pull_overdue(target, pod)
                if self.now >= pull_overdue:
                    return self._fail(target, "ImagePullFailed", _pull_message(target, pod))
                overdue = min(overdue, pull_overdue)
        if self.now >= overdue:
            why = f" ({_tidy(target.trouble)})" if target.trouble else _not_ready(pods)
            said = f"{target.serving} of {app.replicas} pods got ready within {app.progress_deadline} s{why}"
            return self._fail(target, "ProgressDeadlineExceeded", said)
        others = self._others(target)
        service = None if any(d.pods or d.replicas for d in others) else target.release
        changed = None if record == target.record else UpdateDeployment(target, record=record)
        return self._going(
            Phase.PROGRESSING,
            "RollingOut",
            f"Revision {record.revision} rolls out: {target.serving} of {app.replicas} pods are ready"
            f"{_not_ready([waiting]) if waiting else ''}.",
            *self._serve(service),
            *self._scale(target, others, changed),
            candidate=target,
            until=overdue,
        )

    def _complete(self, target: Deployment) -> bool:
        replicas = self.app.replicas
        return target.settled and target.replicas == replicas and target.serving >= replicas

    def _promote(self, target: Deployment) -> Plan:
        record = replace(
            target.record, stage=Stage.PROMOTED, ended=self.now, ready=0, progressed=None, reason="", message=""
        )
        said = f"Revision {record.revision} serves"
        return self._going(
            Phase.PROGRESSING,
            "Promoted",
            f"{said}.",
            UpdateDeployment(target, record=record),
            Emit("Normal", "Promoted", f"{said}: {target.image}"),
            candidate=target,
        )

    # --- at rest, held, failed ------------------------------------------------------------------------------------

    def rest(self, stable: Deployment) -> Plan:
        """The content that the spec asks for serves. What was on its way is given up."""
        app = self.app
        _, unavailable = amounts(app)
        actions = [*self._leave_others(stable, "Aborted"), *self._settle(stable), *self._forget(stable)]
        enough = stable.serving >= min(app.replicas, max(1, app.replicas - unavailable))
        said = f"Revision {stable.record.revision} serves with {stable.serving} of {app.replicas} pods"
        if not enough:
            pods = [p for p in self.observed.pods if p.owner == stable.release and not p.deleting]
            outcome = Outcome(Phase.PROGRESSING, "PodsNotReady", f"{said}{_not_ready(pods)}.")
        elif app.paused:
            outcome = Outcome(Phase.PAUSED, "Paused", f"{said}; releases are paused.")
        else:
            outcome = Outcome(Phase.HEALTHY, "Serving", f"{said}.")
        return Plan(outcome, _merged(actions), stable=stable)

    def hold(self, target: Deployment | None) -> Plan:
        """Paused: nothing begins and nothing moves on; the stable release alone still follows `replicas`.

        What rolls out keeps the pods that it has, and its progress deadline stands still.
        """
        stable = self.stable
        rolling = [d for d in self.deployments if d.record.stage is Stage.ROLLING]
        held = max(rolling, key=_revision, default=target)
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
        return Plan(Outcome(Phase.PAUSED, "Paused", said), _merged(actions), stable=stable, candidate=held)

    def _complement(self, stable: Deployment, held: Deployment) -> Iterable[Action]:
        """Stable pods for what the held release's ready ones leave of `replicas`; only the surge takes any away."""
        yield from self._serve(None)
        app = self.app
        surge, _ = amounts(app)
        if held.replicas > app.replicas:
            yield UpdateDeployment(held, replicas=app.replicas)
        others = sum(min(d.replicas, app.replicas) if d is held else d.replicas for d in self._others(stable))
        room = max(0, app.replicas + surge - others)
        missing = max(0, app.replicas - held.serving)
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
        else:
            actions = self._settle(stable) if stable else []
        outcome = Outcome(Phase.FAILED, record.reason, self._failed_message(record))
        return Plan(outcome, _merged(actions), stable=stable, candidate=target)

    def _fail(self, target: Deployment, reason: str, message: str, *actions: Action) -> Plan:
        record = replace(
            target.record, stage=Stage.FAILED, reason=reason, message=message, ended=self.now, ready=0, progressed=None
        )
        return Plan(
            Outcome(Phase.FAILED, reason, self._failed_message(record)),
            (
                UpdateDeployment(target, record=record),
                *actions,
                Emit("Warning", reason, f"Revision {record.revision} failed: {message}"),
            ),
            stable=self.stable,
            candidate=target,
        )

    def _fail_incompatible(self, target: Deployment, why: str, database: DatabaseSchema) -> Plan:
        message = f"{why.rstrip('.')}; {self._way_out(target, database)}"
        return self._fail(target, "SchemaIncompatible", message)

    def _failed_message(self, record: Record) -> str:
        stable = self.stable
        serves = "serves on" if stable and (stable.serving or not self.app.replicas) else "has no ready pod"
        serving = f"Revision {stable.record.revision} {serves}" if stable else "Nothing serves yet"
        return (
            f"Revision {record.revision} failed: {record.message}. {serving}; apply other content, "
            f"or annotate inventory.dev/retry={record.revision} to try it again."
        )

    # --- parts ----------------------------------------------------------------------------------------------------

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
                yield UpdateDeployment(other, record=replace(record, stage=Stage.LEFT))

    def _settle(self, keep: Deployment) -> list[Action]:
        """Bring one release to full strength, then take the others away."""
        app = self.app
        others = self._others(keep)
        _, unavailable = amounts(app)
        alone = not any(d.pods or d.replicas for d in others)
        enough = keep.serving >= app.replicas - unavailable and (keep.serving or not app.replicas)
        full = keep.settled and enough
        return [*self._serve(keep.release if full or alone else None), *self._scale(keep, others)]

    def _settle_stable(self, target: Deployment | None) -> Iterable[Action]:
        """The stable release at full strength as long as the next one has no pods: it follows `replicas` meanwhile."""
        if self.stable and not (target and target.replicas):
            yield from self._settle(self.stable)

    def _serve(self, release: str | None) -> Iterable[Action]:
        service = self.observed.service
        selected = service.selector.get("inventory.dev/release") if service else None
        if service is None or not service.as_wanted or selected != release:
            yield ApplyService(release)

    def _scale(
        self, keep: Deployment, others: list[Deployment], changed: UpdateDeployment | None = None
    ) -> Iterable[Action]:
        wanted = balance(self.app, keep, others)
        for deployment in (*others, keep):
            replicas = wanted[deployment.release]
            update = changed if deployment is keep else None
            if replicas != deployment.replicas:
                update = replace(update or UpdateDeployment(deployment), replicas=replicas)
            if update:
                yield update

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

    def _way_out(self, target: Deployment, database: DatabaseSchema) -> str:
        fit = [
            d
            for d in self.deployments
            if d is not target and d.record.image_schema and not objections(d.record.image_schema, database)
        ]
        best = max(fit, key=_revision, default=None)
        newest = f"apply revision {best.record.revision} ({best.record.image})" if best else "apply a newer release"
        return f"{newest}, which runs on this schema, or restore a backup from before that contract"

    def _going(
        self,
        phase: Phase,
        reason: str,
        message: str,
        *actions: Action,
        candidate: Deployment | None = None,
        until: datetime | None = None,
    ) -> Plan:
        """A pass of a release under way. Whatever else was on its way is superseded by it."""
        given_up = self._leave_others(candidate, "Superseded") if candidate else ()
        check_after = max(0.5, (until - self.now).total_seconds()) if until else None
        outcome = Outcome(phase, reason, message)
        return Plan(outcome, _merged((*given_up, *actions)), check_after, stable=self.stable, candidate=candidate)

    def _migrating(self, target: Deployment, what: str, *actions: Action, until: datetime | None = None) -> Plan:
        said = f"Revision {target.record.revision} {what}."
        kept = self._settle_stable(target)
        return self._going(Phase.MIGRATING, "Migrating", said, *kept, *actions, candidate=target, until=until)


# --- rules without a world ----------------------------------------------------------------------------------------


def amounts(app: App) -> tuple[int, int]:
    """maxSurge (rounded up) and maxUnavailable (rounded down) as pods; never both zero, as with a Deployment."""
    surge = math.ceil(_amount(app.rolling.max_surge, app.replicas))
    unavailable = math.floor(_amount(app.rolling.max_unavailable, app.replicas))
    return (surge, unavailable) if surge or unavailable else (1, 0)


def balance(app: App, keep: Deployment, others: Iterable[Deployment]) -> dict[str, int]:
    """Replicas by release for the next moment, on the way to `replicas` for `keep` and none for the others.

    Ready pods of all releases together never fall below `replicas` less maxUnavailable because of it, and all pods
    never exceed `replicas` plus maxSurge. Pods that aren't ready go first, but only as far as ready ones of `keep` take
    their place: they may be starting, or be back in a moment. (The Deployment controller does the same with its old
    ReplicaSets.) Those of a failed release hope for nothing, and go at once.
    """
    others = sorted(others, key=lambda d: (d.record.stage is Stage.PROMOTED, d.record.revision))
    surge, unavailable = amounts(app)
    least = app.replicas - unavailable
    spare_pods = max(0, keep.serving + sum(d.replicas for d in others) - least)
    spare_ready = max(0, keep.serving + sum(d.serving for d in others) - least)
    wanted = {d.release: d.replicas for d in others}
    for other in others:
        unready = other.replicas - other.serving
        go = unready if other.record.stage is Stage.FAILED else min(unready, spare_pods)
        spare_pods = max(0, spare_pods - go)
        wanted[other.release] -= go
    for other in others:
        go = min(other.serving, spare_pods, spare_ready)
        spare_pods, spare_ready = spare_pods - go, spare_ready - go
        wanted[other.release] -= go
    room = app.replicas + surge - sum(wanted.values())
    wanted[keep.release] = min(app.replicas, max(keep.replicas, room))
    return wanted


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


@dataclass(frozen=True)
class Report:
    """What a migration Job's pod says at its end: the last JSON line of `inventory-api migrate`."""

    result: str
    error: str
    image: ImageSchema
    database: DatabaseSchema

    @classmethod
    def parse(cls, pod: Pod) -> "Report | None":
        """None if the pod left no report, as when it was killed."""
        try:
            said = json.loads(pod.termination_message)
            expand, contract = said["expand"], said["contract"]
            return cls(
                result=str(said["result"]),
                error=str(said.get("error", "")).rstrip("."),
                image=ImageSchema(
                    expand=spelled_out(expand["image"]),
                    contract=spelled_out(contract["image"]),
                    required_contract=spelled_out(contract.get("required", "")),
                ),
                database=DatabaseSchema(expand=spelled_out(expand["schema"]), contract=spelled_out(contract["schema"])),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _revision(deployment: Deployment) -> int:
    return deployment.record.revision


def _podless(job: Job) -> datetime:
    """When a Job that still has no pod won't get one by itself."""
    return job.created + timedelta(seconds=PODLESS_SECONDS)


def _attempt(job: Job) -> int:
    return job.attempt


def _amount(value: int | str, replicas: int) -> float:
    return value if isinstance(value, int) else int(value.rstrip("%")) * replicas / 100


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
                )
                continue
        result.append(action)
    return tuple(result)


def _tidy(text: str) -> str:
    """The last line that says something, without a closing stop."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:500].rstrip(".") if lines else "no reason was given"


def _pull_message(target: Deployment, pod: Pod) -> str:
    return f"image {target.image} can't be pulled: {_tidy(pod.waiting_message or pod.waiting_reason)}"


def _not_ready(pods: Iterable[Pod]) -> str:
    for pod in pods:
        if not pod.ready and not pod.deleting:
            said = pod.unready or pod.termination_message or pod.waiting_message or pod.waiting_reason
            return f" (pod {pod.name}: {_tidy(said)})" if said else f" (pod {pod.name} is not ready)"
    return ""
