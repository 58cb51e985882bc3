"""What a Job of a release or of an operation has come to: from its Job and pods to one of three answers."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema, spelled_out

from .actions import CreateJob, SuspendJob
from .model import PULL_TROUBLE, Job, Observed, Pod

MAX_UNREPORTED = 3
"""Jobs that may end without a report (their pod was removed) before their step fails."""
PODLESS_SECONDS = 10.0
"""A Job without a pod for so long has one refused, as by a quota."""
ENDING_SECONDS = 1.0
"""How soon to look again at what is about to end; not everything that ends is watched."""


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


@dataclass(frozen=True)
class Going:
    """It is under way, or waits: say so, do `actions`, and look again at `until`."""

    said: str
    actions: tuple[CreateJob | SuspendJob, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True)
class Done:
    """It succeeded. `report` is None for a Job of the user's, whose last words are `said`."""

    said: str
    image_id: str
    report: Report | None = None


@dataclass(frozen=True)
class Failed:
    """It failed for good. `reason` is one for a condition."""

    reason: str
    said: str
    report: Report | None = None
    actions: tuple[SuspendJob, ...] = ()


State = Going | Done | Failed


@dataclass(frozen=True)
class Wanted:
    """A Job that a release or an operation wants done: `create` is its first attempt."""

    create: CreateJob
    what: str
    """For a sentence: "is migrating"."""
    failure: str
    """Reason of the condition if it fails."""
    since: datetime
    """The image-pull deadline counts from here at the earliest."""

    @property
    def reports(self) -> bool:
        """It is a run of the migration command, and owes its report."""
        return self.create.job is None


def look(observed: Observed, now: datetime, wanted: Wanted) -> State:
    """How far a wanted Job has come, and what is to be done about it."""
    return _Look(observed, now, wanted).state()


def pods_of(observed: Observed, job: Job) -> list[Pod]:
    """Oldest first."""
    return sorted((p for p in observed.pods if p.owner == job.uid), key=lambda p: p.created)


def attempts(observed: Observed, revision: int, step: str) -> list[Job]:
    """Oldest first."""
    found = [job for job in observed.jobs if job.revision == revision and job.step == step]
    return sorted(found, key=lambda job: job.attempt)


@dataclass(frozen=True)
class _Look:
    observed: Observed
    now: datetime
    wanted: Wanted

    def state(self) -> State:
        create = self.wanted.create
        tried = attempts(self.observed, create.revision, create.step)
        if not tried:
            return self._first()
        job = tried[-1]
        if job.deleting:
            return Going(f"waits for the end of Job {job.name}, which is being deleted")
        pods = pods_of(self.observed, job)
        report = next((r for p in reversed(pods) if (r := Report.parse(p))), None)
        if job.complete:
            return self._complete(job, report, pods)
        if job.failed:
            return self._failed(job, report, pods)
        if job.given_up:
            return Failed("ImagePullFailed", job.given_up)
        if job.suspended:
            return Going(f"waits: Job {job.name} is suspended, and goes on when that is taken back")
        return self._running(job, report, pods)

    def _first(self) -> State:
        """Another release's Job ends first; one that has nothing running is stopped."""
        active = [job for job in self.observed.jobs if job.active and not job.deleting and not job.gate]
        if active:
            idle = tuple(SuspendJob(job) for job in active if self._is_idle(job))
            return Going(f"waits for the end of Job {', '.join(job.name for job in active)}", idle)
        return self._begin(1, self.wanted.what)

    def _begin(self, attempt: int, said: str) -> State:
        """Never two at once: none begins while a pod may still migrate, whatever became of that pod's Job."""
        unfinished = [p.name for p in self.observed.pods if p.migrates and not p.finished]
        if unfinished:
            soon = self.now + timedelta(seconds=ENDING_SECONDS)
            return Going(f"waits for the end of pod {', '.join(unfinished)}", until=soon)
        return Going(said, (replace(self.wanted.create, attempt=attempt),))

    def _is_idle(self, job: Job) -> bool:
        """Nothing of it runs or is about to."""
        pods = pods_of(self.observed, job)
        return all(p.finished or p.cannot_start for p in pods) if pods else self.now >= _podless(job)

    def _complete(self, job: Job, report: Report | None, pods: list[Pod]) -> State:
        if self.wanted.reports and report is None:
            if job.attempt >= MAX_UNREPORTED:
                return Failed(self.wanted.failure, f"Job {job.name} succeeded, but its report was lost each time")
            return self._begin(job.attempt + 1, "asks once more what was migrated")
        image_id = next((p.image_id for p in reversed(pods) if p.image_id), "")
        said = next((tidy(p.termination_message) for p in reversed(pods) if p.termination_message), "")
        return Done(said or job.name, image_id, report)

    def _failed(self, job: Job, report: Report | None, pods: list[Pod]) -> State:
        if report and report.result == "waiting":
            return self._begin(job.attempt + 1, f"waits: {report.error}")
        if report and report.result in ("refused", "failed"):
            refused = report.result == "refused" and self.wanted.failure == "MigrationFailed"
            return Failed("MigrationRefused" if refused else self.wanted.failure, report.error, report)
        if job.reason == "DeadlineExceeded" and self.wanted.reports:
            # The command itself ends a migration that takes too long, so this one was waiting, as for a node.
            if job.attempt < MAX_UNREPORTED:
                return self._begin(job.attempt + 1, f"waits: Job {job.name} did not get to its end in time")
            said = f"Job {job.name} was stopped at its deadline, as {job.attempt - 1} before it, and left no report"
            return Failed(self.wanted.failure, said)
        said = next((tidy(p.termination_message) for p in reversed(pods) if p.termination_message), "") or job.message
        return Failed(self.wanted.failure, f"Job {job.name} failed: {said}")

    def _running(self, job: Job, report: Report | None, pods: list[Pod]) -> State:
        for pod in (p for p in pods if not p.finished and not p.deleting):
            if pod.waiting_reason in PULL_TROUBLE:
                overdue = pull_overdue(pod, self.wanted.since, self.observed.app.image_pull_deadline)
                if self.now >= overdue or pod.waiting_reason == "InvalidImageName":
                    why = pull_message(self.wanted.create.image, pod)
                    return Failed("ImagePullFailed", why, actions=(SuspendJob(job, why),))
                return Going(f"can't pull its image: {tidy(pod.waiting_message)}", until=overdue)
            if pod.cannot_start:
                what = "its migration" if self.wanted.reports else f"Job {job.name}"
                return Going(f"can't start {what}: {tidy(pod.waiting_message)}")
        if report and report.result == "waiting":
            return Going(f"waits: {report.error}")
        if not pods and self.now >= _podless(job):
            what = "its migration" if self.wanted.reports else f"Job {job.name}"
            return Going(f"gets no pod for {what}: kubectl describe job {job.name} says why")
        return Going(f"{self.wanted.what} (Job {job.name})", until=None if pods else _podless(job))


def pull_overdue(pod: Pod, since: datetime, deadline: int) -> datetime:
    """Waiting for a node is not waiting for an image, and a pod of an earlier try counts from this one's begin."""
    return max(pod.scheduled or pod.created, since) + timedelta(seconds=deadline)


def pull_message(image: str, pod: Pod) -> str:
    return f"image {image} can't be pulled: {tidy(pod.waiting_message or pod.waiting_reason)}"


def not_ready(pods: Iterable[Pod]) -> str:
    """Why the first pod that isn't ready is not, in brackets; empty if all are."""
    for pod in pods:
        if not pod.ready and not pod.deleting:
            said = pod.unready or pod.termination_message or pod.waiting_message or pod.waiting_reason
            return f" (pod {pod.name}: {tidy(said)})" if said else f" (pod {pod.name} is not ready)"
    return ""


def tidy(text: str) -> str:
    """The last line that says something, without a closing stop."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:500].rstrip(".") if lines else "no reason was given"


def _podless(job: Job) -> datetime:
    """When a Job that still has no pod won't get one by itself."""
    return job.created + timedelta(seconds=PODLESS_SECONDS)
