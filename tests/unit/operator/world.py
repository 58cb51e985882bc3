"""A model of a cluster in plain values: the planner's actions change it, and pods, Jobs and people move it on."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from inventory_operator.actions import (
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
from inventory_operator.model import App, Deployment, Job, Metric, Migrations, Observed, Pod, Service, Stage, Traffic
from inventory_operator.plan import plan

START = datetime(2026, 1, 1, tzinfo=UTC)


def an_app(image: str = "registry.test/api:1", **changes: Any) -> App:
    content = {"image": image}
    app = App("shop", "inventory", "uid-1", 1, content, replicas=2, migrations=Migrations("owner"))
    return replace(app, **changes)


def a_report(
    result: str = "applied", image: str = "0001", schema: str = "0001", error: str = "", **contract: str
) -> str:
    """What a migration pod leaves behind."""
    return json.dumps(
        {
            "result": result,
            "expand": {"image": image, "schema": schema},
            "contract": {"image": "", "schema": "", "required": ""}
            | {name.removeprefix("contract_"): value for name, value in contract.items()},
            "error": error,
        }
    )


def a_migrating_pod(job: Job, now: datetime, **changes: Any) -> Pod:
    return replace(Pod(f"{job.name}-x", job.uid, now, migrates=True), **changes)


@dataclass
class World:
    """What the API server would return, and the clock."""

    app: App = field(default_factory=an_app)
    now: datetime = START
    deployments: dict[str, Deployment] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()
    service: Service | None = None
    candidate_service: Service | None = None
    traffic: Traffic | None = None
    answers: dict[str, float | str | None] = field(default_factory=dict)
    """What Prometheus says of each metric."""
    secrets: dict[str, str] = field(default_factory=dict)
    """By release, where they differ from those of the spec."""
    events: list[Emit] = field(default_factory=list)
    created_jobs: list[str] = field(default_factory=list)

    def observed(self) -> Observed:
        return Observed(
            self.app,
            tuple(replace(d, secrets=self.secrets.get(name, self.app.secrets)) for name, d in self.deployments.items()),
            tuple(self.jobs.values()),
            self.pods,
            self.service,
            self.candidate_service,
            self.traffic,
        )

    def measure(self, deployment: Deployment, metrics: tuple[Metric, ...]) -> None:
        """What apply does for the action: ask, and write the answers into the record."""
        found = self.deployments[deployment.release]
        tallies = {tally.name: tally for tally in found.record.tallies}
        for metric in metrics:
            before = tally_of(metric, found.record.tallies)
            tallies[metric.name] = measured(before, metric, self.answers.get(metric.name), self.now)
        record = replace(found.record, tallies=tuple(tallies.values()))
        self.deployments[deployment.release] = replace(found, record=record)

    def step(self) -> Plan:
        """One pass: decide, and carry it out. Time goes on a little."""
        self.now += timedelta(milliseconds=1)
        decided = plan(self.observed(), self.now)
        for action in decided.actions:
            match action:
                case CreateDeployment(release, record, replicas):
                    assert release not in self.deployments
                    self.deployments[release] = Deployment(
                        f"inventory-{release}",
                        release,
                        record,
                        replicas,
                        replicas,
                        0,
                        True,
                        True,
                        False,
                        "1",
                        record.image,
                        record.revision,
                    )
                case UpdateDeployment(deployment, replicas, record, image, restarted):
                    found = self.deployments[deployment.release]
                    replicas = found.replicas if replicas is None else replicas
                    self.deployments[deployment.release] = replace(
                        found,
                        record=record or found.record,
                        replicas=replicas,
                        pods=replicas,
                        ready=min(found.ready, replicas),
                        image=image or found.image,
                        restarted=found.restarted if restarted is None else restarted,
                        settled=found.settled and restarted is None,
                    )
                case DeleteDeployment(deployment):
                    del self.deployments[deployment.release]
                case CreateJob(_, revision, attempt, _, what):
                    name = f"inventory-{revision}-{what}-{attempt}"
                    assert name not in self.jobs
                    assert not [pod for pod in self.pods if pod.migrates and not pod.finished]
                    self.jobs[name] = Job(name, f"uid-of-{name}", revision, attempt, self.now, what)
                    self.created_jobs.append(name)
                case SuspendJob(job, why):
                    self.jobs[job.name] = replace(self.jobs[job.name], suspended=True, given_up=why)
                case DeleteJob(job):
                    del self.jobs[job.name]
                case ApplyService(release, candidate):
                    selector = {"inventory.dev/release": release} if release else {}
                    if candidate:
                        self.candidate_service = Service(selector, as_wanted=True)
                    else:
                        self.service = Service(selector, as_wanted=True)
                case SetTraffic(weight):
                    assert self.traffic
                    self.traffic = replace(self.traffic, weight=weight, present=True)
                case EndTraffic():
                    assert self.traffic
                    self.traffic = replace(self.traffic, weight=0, present=False)
                case Measure(deployment, metrics):
                    self.measure(deployment, metrics)
                case SetReplicas(replicas):
                    self.app = replace(self.app, replicas=replicas, replicas_unset=False)
                case Emit():
                    self.events.append(action)
        return decided

    def ready(self, release: str | None = None, count: int | None = None) -> None:
        """Pods get ready: all that are there, or `count` of one release."""
        for name, found in self.deployments.items():
            if release in (None, name):
                wanted = found.pods if count is None else min(count, found.pods)
                self.deployments[name] = replace(found, ready=max(found.ready, wanted), settled=True)

    def finish_job(
        self, message: str, failed: bool = False, reason: str = "PodFailurePolicy", image_id: str = ""
    ) -> Job:
        """The newest Job ends, its pod leaving `message`."""
        job = next(reversed([j for j in self.jobs.values() if j.active]))
        ended = replace(job, complete=not failed, failed=failed, reason=reason if failed else "")
        self.jobs[job.name] = ended
        pods = [pod for pod in self.pods if pod.owner != job.uid or pod.finished]
        pod = a_migrating_pod(job, self.now, finished=True, termination_message=message, image_id=image_id)
        self.pods = (*pods, pod)
        return ended

    def start_pod(self, **changes: Any) -> None:
        """The newest Job gets a pod."""
        job = next(reversed([j for j in self.jobs.values() if j.active]))
        self.pods = (*self.pods, a_migrating_pod(job, self.now, **changes))

    def end_pods_of_suspended_jobs(self) -> None:
        """As the Job controller does it, in its own time."""
        going = {job.uid for job in self.jobs.values() if job.suspended}
        self.pods = tuple(pod for pod in self.pods if pod.owner not in going)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def settle(self, passes: int = 40) -> Plan:
        """Pass after pass, every pod getting ready and every Job succeeding, until nothing is to be done."""
        for _ in range(passes):
            decided = self.step()
            before = dict(self.deployments), self.pods
            self.ready()
            self.end_pods_of_suspended_jobs()
            if any(job.active for job in self.jobs.values()):
                self.finish_job(a_report())
            elif not decided.actions and before == (self.deployments, self.pods):
                return decided
        raise AssertionError(f"no rest after {passes} passes: {decided}")

    @property
    def stable(self) -> Deployment:
        return max(
            (d for d in self.deployments.values() if d.record.stage is Stage.PROMOTED), key=lambda d: d.record.revision
        )

    @property
    def target(self) -> Deployment:
        return self.deployments[self.app.release]

    def want(self, **changes: Any) -> None:
        """The user applies a changed spec."""
        if "image" in changes:
            changes["content"] = {"image": changes.pop("image")}
        self.app = replace(self.app, generation=self.app.generation + 1, **changes)


def served(image: str = "registry.test/api:1", **changes: Any) -> World:
    """A world in which one release serves."""
    world = World(an_app(image, **changes))
    world.settle()
    return world
