"""A model cluster: Deployments with a controller that lags, Jobs, a database, a router, Prometheus, and other people.

It carries a plan's actions out as the API server would, with the same conflicts, and checks after each of them what
must always hold. (The numbers are those of the invariants.)

Modelled are: the planner as it is, and how a pass goes on from the API server's answers; a death between any two of a
pass's writes, and before its status; a status that isn't written; a look that is older in parts, and one that is
outdated when its deeds are done; a second operator; conflicts by version and by name; a watch that tells nothing, so
that the next look comes when the last one asked for it.

Not modelled are: the calls themselves, their errors and back-off (test_apply, test_kube, test_queue); watches, roundup
and queue, so a pass may come at any time (test_handlers, test_roundup, test_cli); Events, which are told after a pass
and change nothing; the Lease (test_lease); what an action does beyond one write, as giving up a route's fields
(test_apply); the text of a status, of which only what the planner reads is kept (test_status).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from types import ModuleType

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema, objections
from inventory_operator import steps
from inventory_operator.actions import (
    Action,
    ApplyService,
    CreateDeployment,
    CreateJob,
    DeleteDeployment,
    DeleteJob,
    Emit,
    EndTraffic,
    Measure,
    Plan,
    SetReplicas,
    SetTraffic,
    SuspendJob,
    UpdateDeployment,
)
from inventory_operator.analysis import measured, tally_of
from inventory_operator.counts import amounts, routed_share, stable_share
from inventory_operator.model import App, Deployment, Job, Observed, Pod, Record, Service, Stage, Traffic
from inventory_operator.model import Work as WorkKind
from inventory_operator.reconcile import (
    AT_REST,
    FOLLOW_UP_SECONDS,
    MOST_STEPS,
    RESYNC_SECONDS,
    is_answered,
    is_founded,
)

from .world import START

IMAGES: Mapping[str, ImageSchema] = {
    "api:1": ImageSchema(("0001",), ()),
    "api:2": ImageSchema(("0001", "0002"), ("c0001",)),
    "api:3": ImageSchema(("0001", "0002", "0003"), ("c0001", "c0002")),
    "api:4": ImageSchema(("0001", "0002", "0003"), ("c0001", "c0002"), ("c0001",)),
}
LOSSLESS = {"c0002"}
CHANGES = (UpdateDeployment, DeleteDeployment, ApplyService, SetTraffic, EndTraffic)
"""What may take pods from requests, or requests from pods."""


class ConflictError(Exception):
    """The object has changed since it was observed, or its name is taken."""


@dataclass(frozen=True)
class Lack:
    """Requests (percent) for which there is no ready pod, and ready pods that are too few for the rest."""

    lost: int = 0
    lacking: int = 0


@cache
def _pods_of(release: str, pods: int, ready: int, terminating: int) -> tuple[Pod, ...]:
    return (
        *(Pod(f"{release}-{n}", release, START, ready=n < ready) for n in range(pods)),
        *(Pod(f"{release}-old-{n}", release, START, deleting=True) for n in range(terminating)),
    )


@dataclass
class Running:
    """A Deployment: what was asked for, and what its controller has made of it."""

    release: str
    image: str
    record: Record
    replicas: int = 0
    pods: int = 0
    ready: int = 0
    terminating: int = 0
    seen: bool = True
    """The controller has brought its pods to what was asked for."""
    current: bool = True
    """The controller has looked at it since it was last written."""
    version: int = 1
    restarted: str = ""

    def observed(self) -> Deployment:
        record = self.record
        return Deployment(
            name=f"inventory-{self.release}",
            release=self.release,
            record=record,
            replicas=self.replicas,
            pods=self.pods,
            ready=self.ready,
            current=self.current,
            settled=self.seen and self.current,
            deleting=False,
            resource_version=str(self.version),
            image=self.image,
            revision_label=record.revision,
            restarted=self.restarted,
        )

    @property
    def serving(self) -> int:
        return min(self.ready, self.replicas)


@dataclass
class Work:
    """A Job, and what its pod is about to do."""

    job: Job
    image: str
    arguments: tuple[str, ...]
    pod: Pod | None = None


@dataclass
class Cluster:
    app: App
    planner: ModuleType
    now: datetime = START
    running: dict[str, Running] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    orphans: list[Pod] = field(default_factory=list)
    """Pods whose Job has gone before them."""
    service: Service | None = None
    candidate_service: Service | None = None
    traffic: Traffic | None = None
    expand: tuple[str, ...] = ()
    contract: tuple[str, ...] = ()
    backup: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    database_away: bool = False
    answer: float | str | None = 0.0
    numbers: set[int] = field(default_factory=set)
    made: int = 0
    """Jobs so far."""
    passes: int = 0
    written: int = 0
    """Times, by the operator."""
    disturbed: bool = False
    """Something happens between a look and its deeds: what was right by then may be wrong by now."""

    @property
    def restoring(self) -> bool:
        """A restore, which a person orders, stops the service."""
        return any(
            d.record.operation and d.record.operation.going and d.record.operation.kind is WorkKind.RESTORE
            for d in self.running.values()
        )

    # --- one pass -------------------------------------------------------------------------------------------------

    def observed(self) -> Observed:
        pods = [*self.orphans, *(work.pod for work in self.works.values() if work.pod)]
        for running in self.running.values():
            pods += _pods_of(running.release, running.pods, running.ready, running.terminating)
        router = self.app.strategy.router
        observed = Observed(
            app=self.app,
            deployments=tuple(replace(each.observed(), secrets=self.app.secrets) for each in self.running.values()),
            jobs=tuple(work.job for work in self.works.values()),
            pods=tuple(pods),
            service=self.service,
            candidate_service=self.candidate_service,
            traffic=self.traffic if router else None,
        )
        if self.app.secrets and not observed.may_start_pods:
            unknown = tuple(replace(each, secrets="") for each in observed.deployments)
            return replace(observed, app=replace(self.app, secrets=""), deployments=unknown)
        return observed

    def reconcile(
        self,
        crash_after: int | None = None,
        meanwhile: Callable[[], object] | None = None,
        older: Sequence[str] = (),
        *,
        status_lost: bool = False,
    ) -> Plan:
        """One pass. It may die between any two calls, and anything may happen between its look and its deeds.

        What is in `older` was read before that, the rest after it: no look sees all at one moment.
        """
        self.now += timedelta(milliseconds=10)
        observed = self.observed()
        if meanwhile and older:
            meanwhile()
            observed = replace(self.observed(), **{name: getattr(observed, name) for name in older})
        decided = self._decide(observed)
        if meanwhile and not older:
            meanwhile()
        calls: Iterator[int] = iter(range(crash_after)) if crash_after is not None else count()
        for left in reversed(range(MOST_STEPS)):
            if not self._done(decided, calls, outdated=bool(older)):
                return decided
            if not decided.actions or not all(map(is_answered, decided.actions)):
                break
            seen = self._answered(observed, decided)
            following = self._decide(seen)
            if not left or not is_founded(following, observed, seen):
                status_lost |= decided.outcome.phase not in AT_REST
                break
            observed, decided = seen, following
        if not status_lost and crash_after is None:
            self._write_status()
        return decided

    def calls(self) -> int:
        """How many writes a pass would have now, besides that of the status."""
        twin = replace(
            self,
            running={release: replace(each) for release, each in self.running.items()},
            works={name: replace(each) for name, each in self.works.items()},
            numbers={*self.numbers},
        )
        twin.reconcile()
        return twin.written - self.written

    def asks_for(self, decided: Plan) -> float:
        """In how many seconds a pass that ended with this wants the next one, whatever watches tell."""
        if any(isinstance(each, SetTraffic | EndTraffic) for each in decided.actions):
            return 0
        if decided.actions and all(map(is_answered, decided.actions)):
            return 0  # it takes another look to go on
        at_rest = decided.outcome.phase in AT_REST and not decided.actions
        pause = RESYNC_SECONDS if at_rest else FOLLOW_UP_SECONDS
        return pause if decided.check_after is None else min(pause, decided.check_after)

    def _decide(self, observed: Observed) -> Plan:
        decided: Plan = self.planner.plan(observed, self.now)
        self._check_decision(observed, decided)
        return decided

    def _done(self, decided: Plan, calls: Iterator[int], *, outdated: bool) -> bool:
        """Whether it got through all actions: it dies when there are no more calls, and gives up at a conflict.

        A Service can't be changed on the condition that pods are as an outdated look had them.
        """
        for action in decided.actions:
            if isinstance(action, Emit):
                continue  # told once all is done
            if next(calls, None) is None:
                return False
            self.written += 1
            knows = isinstance(action, CHANGES) and not (outdated and isinstance(action, ApplyService))
            before = self._lack() if knows else None
            try:
                self.carry_out(action)
            except ConflictError:
                return False
            self.check()
            if before:
                self._check_lack(before, action)
        return True

    def _answered(self, observed: Observed, decided: Plan) -> Observed:
        """What was looked at, with what was written since as the answers have it."""
        written = {a.release for a in decided.actions if isinstance(a, CreateDeployment)}
        written |= {a.deployment.release for a in decided.actions if isinstance(a, UpdateDeployment)}
        kept = [each for each in observed.deployments if each.release not in written]
        fresh = [self.running[release].observed() for release in sorted(written)]
        applied = {a.candidate for a in decided.actions if isinstance(a, ApplyService)}
        return replace(
            observed,
            deployments=(*kept, *fresh),
            service=self.service if False in applied else observed.service,
            candidate_service=self.candidate_service if True in applied else observed.candidate_service,
        )

    def _write_status(self) -> None:
        revisions = [{"revision": n} for n in sorted(self.numbers)[-3:]]
        operations = [d.record.operation for d in self.running.values() if d.record.operation]
        number = max((o.number for o in operations), default=0)
        number = max(number, int((self.app.status.get("operation") or {}).get("number", 0)))
        status = {"history": revisions, "operation": {"number": number}}
        if status != self.app.status:
            self.app = replace(self.app, status=status)

    def _check_decision(self, observed: Observed, decided: Plan) -> None:
        self.passes += 1
        if self.passes % 8 == 0:
            assert self.planner.plan(observed, self.now) == decided, "a plan is a function of what was observed"
        written = [a.deployment.release for a in decided.actions if isinstance(a, UpdateDeployment)]
        assert len(written) == len(set(written)), "one write an object a pass"

    # --- requests -------------------------------------------------------------------------------------------------

    def _lack(self) -> Lack:
        """What the requests lack now: each Service's pods must bear the share that the router gives it."""
        total = self.app.replicas
        if not total:
            return Lack()
        if self.service is None or self.restoring:
            return Lack(100, 2 * total)
        _, unavailable = amounts(self.app)
        routed = self.traffic is not None and self.candidate_service is not None
        weight = self.traffic.weight if self.traffic and routed else 0
        lost = lacking = 0
        one = self.candidate_service and self.candidate_service.release == self.service.release
        if weight < 100:
            ready = self._selected(self.service)
            lost += (100 - weight) * (ready == 0 < stable_share(weight, total) - unavailable)
            # Whatever the router says, one release has all requests where both Services lead to it.
            lacking += max(0, stable_share(0 if one else weight, total) - unavailable - ready)
        if weight and self.candidate_service:
            ready = self._selected(self.candidate_service)
            lost += weight * (ready == 0)
            # What its pods can't take for the moment, a router may have had from before `replicas` changed.
            lacking += 0 if one and weight < 100 else max(0, routed_share(weight, total) - unavailable - ready)
        return Lack(lost, lacking)

    def _selected(self, service: Service) -> int:
        return sum(each.serving for each in self.running.values() if service.release in (None, each.release))

    def _check_lack(self, before: Lack, action: Action) -> None:
        """4 and 5: nothing that the operator does takes ready pods from requests that need them."""
        if self.restoring or self.disturbed:
            return
        after = self._lack()
        said = f"{type(action).__name__} {getattr(action, 'weight', '')}: {before} becomes {after}"
        assert after.lost <= before.lost, f"4: requests without a ready pod: {said}"
        # Requests that had no ready pod at all may go where there are too few; shares are rounded up, so of none at all
        # there may lack one more.
        fewer = after.lost == before.lost < 100 and after.lacking > before.lacking
        assert not fewer, f"5: too few ready pods for their requests: {said}"

    # --- the API server -------------------------------------------------------------------------------------------

    def carry_out(self, action: Action) -> None:
        match action:
            case CreateDeployment(release, record, replicas):
                if release in self.running:
                    raise ConflictError
                assert record.revision not in self.numbers, "no number is given twice"
                self.numbers.add(record.revision)
                self.running[release] = Running(release, record.image, record, replicas, seen=not replicas)
            case UpdateDeployment():
                self._update(action)
            case DeleteDeployment(deployment):
                found = self.running.get(deployment.release)
                assert found is None or found.replicas == 0
                self.running.pop(deployment.release, None)
            case CreateJob():
                self._create_job(action)
            case SuspendJob(job, why):
                if work := self.works.get(job.name):
                    work.job = replace(work.job, suspended=True, given_up=why)
            case DeleteJob(job):
                self.works.pop(job.name, None)
            case ApplyService(release, candidate):
                service = Service({"inventory.dev/release": release} if release else {}, as_wanted=True)
                if candidate:
                    self.candidate_service = service
                else:
                    self.service = service
            case SetTraffic(weight):
                self._route(weight)
            case EndTraffic():
                self._route(0, present=False)
            case Measure(deployment, metrics):
                found = self._guarded(deployment)
                tallies = {tally.name: tally for tally in found.record.tallies}
                for metric in metrics:
                    before = tally_of(metric, found.record.tallies)
                    tallies[metric.name] = measured(before, metric, self.answer, self.now)
                found.record = replace(found.record, tallies=tuple(tallies.values()))
                found.version += 1
            case SetReplicas(replicas):
                self.app = replace(self.app, replicas=replicas, replicas_unset=False)

    def _guarded(self, deployment: Deployment) -> Running:
        found = self.running.get(deployment.release)
        if found is None or str(found.version) != deployment.resource_version:
            raise ConflictError
        return found

    def _update(self, action: UpdateDeployment) -> None:
        found = self._guarded(action.deployment)
        if action.record and action.record.revision != found.record.revision:
            assert action.record.revision not in self.numbers, "no number is given twice"
            self.numbers.add(action.record.revision)
        found.version += 1
        found.current = False
        if action.image or action.restarted or (action.record and action.record.revision != found.record.revision):
            found.seen = False  # its pods are replaced, one more first
        found.record = action.record or found.record
        found.image = action.image or found.image
        found.restarted = found.restarted if action.restarted is None else action.restarted
        if action.replicas is not None and action.replicas != found.replicas:
            self._check_stable_keeps_its_share(found, action.replicas)
            found.replicas, found.seen = action.replicas, False

    def _check_stable_keeps_its_share(self, found: Running, replicas: int) -> None:
        """5, of pods that are the traffic: a candidate leaves the stable release its share, less maxUnavailable."""
        candidate = self.running.get(self.app.release)
        promoted = [each for each in self.running.values() if each.record.stage is Stage.PROMOTED]
        stable = max(promoted, key=lambda each: each.record.revision, default=None)
        strategy = self.app.strategy
        if found is not stable or strategy.apart or self.disturbed or self.restoring:
            return
        if candidate is None or candidate is stable or candidate.record.stage is not Stage.ROLLING:
            return
        _, unavailable = amounts(self.app)
        weight = steps.weight(strategy, candidate.record.step)
        share = stable_share(weight, self.app.replicas) - unavailable
        if weight < 100:
            assert min(found.ready, replicas) >= min(share, found.serving), "5: stable has less than its share"

    def _route(self, weight: int, *, present: bool = True) -> None:
        assert self.traffic is not None
        if weight > self.traffic.weight and self.app.replicas and not self.disturbed:
            to = self._selected(self.candidate_service) if self.candidate_service else 0
            assert to >= routed_share(weight, self.app.replicas), "4: a weight for a candidate that can't bear it"
        self.traffic = replace(self.traffic, weight=weight, present=present, as_wanted=True)

    def _create_job(self, action: CreateJob) -> None:
        name = f"inventory-{action.revision}-{action.step}-{action.attempt}"
        if name in self.works:
            raise ConflictError
        if action.step == "expand" and not self.disturbed:
            operations = [d.record.operation for d in self.running.values() if d.record.operation]
            assert not any(each.going for each in operations), "a candidate begins during work on the database"
        if action.step.startswith("contract"):
            stages = [each.record.stage for each in self.running.values()]
            assert self.disturbed or not {Stage.MIGRATING, Stage.ROLLING} & set(stages), "a contract beside a candidate"
            self._check_contract_breaks_nobody(IMAGES[action.image])
        self.made += 1
        job = Job(name, f"uid-{name}-{self.made}", action.revision, action.attempt, self.now, action.step)
        self.works[name] = Work(job, action.image, action.arguments)

    # --- controllers ----------------------------------------------------------------------------------------------

    def controller_acts(self, release: str, ready: int) -> None:
        """The Deployment controller brings pods about; `ready` of the new ones get ready."""
        found = self.running[release]
        found.seen = found.current = True
        if found.pods > found.replicas:
            found.terminating += found.pods - found.replicas
        found.pods = found.replicas
        found.ready = min(found.pods, max(min(found.ready, found.pods), ready))
        if found.ready and not self.database_away:
            self._check_fits(found)

    def terminating_pods_end(self) -> None:
        self.orphans.clear()
        for found in self.running.values():
            found.terminating = 0

    def pods_fail(self, release: str) -> None:
        found = self.running[release]
        found.ready = max(0, found.ready - 1)

    def job_starts(self, name: str) -> None:
        work = self.works[name]
        if work.job.active and work.pod is None:
            migrates = work.job.step.startswith(("expand", "contract", "downgrade", "restore", "look"))
            work.pod = Pod(f"{name}-x", work.job.uid, self.now, migrates=migrates)
            self.check_one_migration()

    def check_one_migration(self) -> None:
        pods = [*self.orphans, *(work.pod for work in self.works.values() if work.pod)]
        busy = [pod.name for pod in pods if pod.migrates and not pod.finished]
        assert len(busy) <= 1, f"3: {busy} at once"

    def job_ends(self, name: str, how: str) -> None:
        """`lost`: it did its work, and died before it could say so."""
        work = self.works[name]
        if not work.job.active:
            return
        self.job_starts(name)
        assert work.pod
        says, failed = self._run(work, how)
        message = "" if how == "lost" else says
        work.pod = replace(work.pod, finished=True, termination_message=message)
        reason = "DeadlineExceeded" if how in ("waiting", "lost") else "PodFailurePolicy"
        work.job = replace(work.job, complete=not failed, failed=failed, reason=reason if failed else "")

    def job_is_removed(self, name: str) -> None:
        """By somebody, or something: its pod goes on for a while."""
        work = self.works.pop(name)
        if work.pod and not work.pod.finished:
            self.orphans.append(work.pod)

    def suspended_pods_end(self) -> None:
        for work in self.works.values():
            if work.job.suspended and work.pod and not work.pod.finished:
                work.pod = None

    # --- the database ---------------------------------------------------------------------------------------------

    def _run(self, work: Work, how: str) -> tuple[str, bool]:
        if work.job.gate or work.job.step.startswith("backup"):
            if how == "failed":
                return "no", True
            if work.job.step.startswith("backup"):
                self.backup = (self.expand, self.contract)
            return "backups/1.dump", False
        if work.job.step.startswith("restore"):
            if how == "failed":
                return "no", True
            assert not any(r.pods or r.terminating for r in self.running.values()), "a restore under a running service"
            self.expand, self.contract = self.backup
            return "restored", False
        if how == "waiting" or self.database_away:
            return self._report(work.image, "waiting", "the database does not answer"), True
        if how == "failed":
            return self._report(work.image, "failed", "it did not work"), True
        return self._migrate(work)

    def _migrate(self, work: Work) -> tuple[str, bool]:
        image, action = IMAGES[work.image], work.arguments[1]
        if action == "status":
            return self._report(work.image, "status"), False
        foreign = [r for r in self.contract if r not in image.contract]
        if action == "expand":
            if foreign and [r for r in image.expand if r not in self.expand]:
                return self._report(work.image, "refused", f"{foreign[0]} is not known here"), True
            fresh = not self.expand
            self.expand = tuple(sorted({*self.expand, *image.expand}))
            if fresh:
                self.contract = image.contract
            return self._report(work.image, "applied"), False
        if action == "downgrade":
            to = work.arguments[3]
            goes = [r for r in self.contract if to == "base" or r > to]
            if [r for r in goes if r not in LOSSLESS]:
                return self._report(work.image, "refused", f"{goes[0]} is not lossless"), True
            self.contract = tuple(r for r in self.contract if r not in goes)
            return self._report(work.image, "downgraded"), False
        if foreign:
            return self._report(work.image, "refused", f"{foreign[0]} is not known here"), True
        self._check_contract_breaks_nobody(image)
        self.contract = image.contract
        return self._report(work.image, "applied"), False

    def _check_contract_breaks_nobody(self, image: ImageSchema) -> None:
        after = DatabaseSchema(self.expand, image.contract)
        for found in self.running.values():
            if found.pods or found.terminating:
                assert not objections(IMAGES[found.image], after), f"2: contract under a pod of {found.image}"

    def _report(self, name: str, result: str, error: str = "") -> str:
        image = IMAGES[name]
        return json.dumps(
            {
                "result": result,
                "expand": {"image": " ".join(image.expand), "schema": " ".join(self.expand)},
                "contract": {
                    "image": " ".join(image.contract),
                    "schema": " ".join(self.contract),
                    "required": " ".join(image.required_contract),
                },
                "error": error,
            }
        )

    # --- what must always hold ------------------------------------------------------------------------------------

    def check(self) -> None:
        for found in self.running.values():
            if found.replicas and self.app.migrations:
                missing = [r for r in IMAGES[found.image].expand if r not in self.expand]
                assert not missing or self.restoring, f"1: pods of {found.image} before {missing}"

    def _check_fits(self, found: Running) -> None:
        """A pod gets ready only where the rule lets it; the service asks the same."""
        against = objections(IMAGES[found.image], DatabaseSchema(self.expand, self.contract))
        if against and self.app.migrations:
            found.ready = 0
