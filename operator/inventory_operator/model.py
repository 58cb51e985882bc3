"""The world as plain values: what was observed, and what a release is.

`observe` fills them, and `plan` decides over them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema

GROUP = "inventory.dev"
VERSION = "v1alpha1"
KIND = "InventoryApp"
PLURAL = "inventoryapps"
MANAGER = "inventory-operator"
"""Of the fields that the operator writes."""

LABEL_APP = "inventory.dev/app"
LABEL_RELEASE = "inventory.dev/release"
LABEL_REVISION = "inventory.dev/revision"
ANNOTATION_RECORD = "inventory.dev/record"
ANNOTATION_GIVEN_UP = "inventory.dev/given-up"
"""On a Job that the operator has stopped for good: why."""
ANNOTATION_CONTENT = "inventory.dev/content"
"""What the user wrote, on the release's Deployment: it can be applied again."""
LABEL_ATTEMPT = "inventory.dev/attempt"
LABEL_STEP = "inventory.dev/step"
COMMANDS = ("promote", "promote-full", "abort", "retry", "restart", "contract", "downgrade", "restore")
"""What a person can order, each by the annotation inventory.dev/<command>."""

PULL_TROUBLE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "ErrImageNeverPull"}
)

RELEASE_FIELDS = ("image", "imagePullPolicy", "imagePullSecrets", "config", "secrets", "template")

Json = Mapping[str, Any]
Object = dict[str, Any]
"""As the API has it."""


class Stage(StrEnum):
    """How far a release has come. `promoted` with the highest revision is the stable one."""

    MIGRATING = "migrating"
    ROLLING = "rolling"
    PROMOTED = "promoted"
    FAILED = "failed"
    LEFT = "left"  # superseded or aborted: may be tried again under a new number


class Work(StrEnum):
    """What is done to the database besides the expand migrations of a release."""

    CONTRACT = "contract"
    DOWNGRADE = "downgrade"
    RESTORE = "restore"

    @property
    def begun(self) -> str:
        """Reason of the Event that it begins with."""
        return f"{self.title()}Begun"

    @property
    def failed(self) -> str:
        """Reason of the Event that it ends with, if it fails or is refused."""
        return f"{self.title()}Failed"


class WorkStage(StrEnum):
    """How far it has come. Each but the last two is intent that was written down before its first step."""

    DRAINING = "draining"  # pods that it would break are on their way out
    BACKUP = "backup"
    RUNNING = "running"
    LOOKING = "looking"  # after a restore nobody knows what the database has
    DONE = "done"
    FAILED = "failed"  # not tried again until told


@dataclass(frozen=True)
class Operation:
    """Work on the database, kept on the Deployment of the release that was stable when it began."""

    kind: Work
    number: int
    """Grows with each operation of the app: a command names it, so that it can be given again."""
    stage: WorkStage
    started: datetime
    revision: int = 0
    """Whom it makes way for (downgrade), or before whose contract the backup was taken (restore)."""
    backup: str = ""
    message: str = ""
    ended: datetime | None = None
    unclear: bool = False
    """It, or one before it, may have changed the schema and left no report: what was seen before is in doubt."""
    manual: bool = True
    """After it no contract begins by itself; not so after an order that was refused."""

    @property
    def title(self) -> str:
        """For a sentence: "Contract 2"."""
        return f"{self.kind.title()} {self.number}"

    @property
    def going(self) -> bool:
        return self.stage not in (WorkStage.DONE, WorkStage.FAILED)


@dataclass(frozen=True)
class Tally:
    """What the measurements of one metric have said so far."""

    name: str
    good: int = 0
    bad: int = 0
    unclear: int = 0
    """In a row: a good answer ends it."""
    measured: datetime | None = None
    said: str = ""
    """The last value, or why there is none."""


@dataclass(frozen=True)
class Record:
    """What is known of a release. It lives on the release's Deployment, so that a restarted operator knows as much."""

    revision: int
    stage: Stage
    started: datetime
    image: str
    reason: str = ""
    message: str = ""
    ended: datetime | None = None
    image_schema: ImageSchema | None = None
    database_schema: DatabaseSchema | None = None
    schema_seen: datetime | None = None
    ready: int = 0  # most ready pods so far, and when that number last grew: the progress deadline counts from there
    progressed: datetime | None = None
    step: int = 0
    """Steps of its strategy that are behind it."""
    steps: str = ""
    """Hash of the steps that are counted: other ones begin anew."""
    step_started: datetime | None = None
    routed: int = 0
    """The weight that the router was last seen to have from us."""
    tallies: tuple[Tally, ...] = ()
    held: bool = False
    """Failed or inconclusive, and left as it is until a person says how to go on."""
    served: bool = False
    """It has served before: its steps and analyses are behind it for good."""
    operation: Operation | None = None
    backup: str = ""
    """Reference of the backup that was taken before its contract migrations."""
    secrets: str = ""
    """Digest of its Secrets when they were first seen, for pods that an older operator has made."""


@dataclass(frozen=True)
class SetWeight:
    """A step: the candidate's share of the requests, in percent."""

    weight: int


@dataclass(frozen=True)
class Pause:
    """A step: wait so many seconds, or (None) until somebody promotes."""

    seconds: int | None = None


@dataclass(frozen=True)
class Gate:
    """A step: a Job of the user's must succeed."""

    job: Json


@dataclass(frozen=True)
class Analyse:
    """A step: each metric must have been measured as often as it says, and found good."""


Step = SetWeight | Pause | Gate | Analyse


@dataclass(frozen=True)
class Router:
    """What divides the requests by weight."""

    kind: str
    """`ingress` (ingress-nginx) or `httpRoute` (Gateway API)."""
    name: str
    options: Json = field(default_factory=dict)
    """Header or cookie that leads to the candidate at any weight."""


@dataclass(frozen=True)
class Strategy:
    """`spec.strategy`: how pods of a candidate replace those of the stable release."""

    kind: str = "rolling"
    """`rolling`, `canary` or `blueGreen`."""
    max_surge: int | str = "25%"
    """An amount is a number of pods or a percentage of `replicas`."""
    max_unavailable: int | str = 0
    steps: tuple[Step, ...] = ()
    router: Router | None = None
    dynamic_stable_scale: bool = False
    """The stable release gives up pods as it loses weight, and gets them back before it gets weight."""
    warm: int = 0
    """Seconds that the former release keeps its pods after a promotion."""

    @property
    def apart(self) -> bool:
        """The candidate's pods aren't behind the stable Service: a router or the promotion brings them requests."""
        return self.router is not None or self.kind == "blueGreen"


@dataclass(frozen=True)
class Metric:
    """One query of `spec.analysis`, and what its answers mean. Bounds are inclusive; None is none."""

    name: str
    query: str
    good_min: float | None = None
    good_max: float | None = None
    bad_min: float | None = None
    bad_max: float | None = None
    """Without a bad bound, what isn't good is bad; else what is neither is unclear."""
    interval: int = 10
    count: int = 3
    failure_limit: int = 0
    """Bad answers that may be."""
    unclear_limit: int = 3
    """Unclear ones in a row that may be; beyond it the release is held for a person."""
    empty: str = "Inconclusive"
    """What an answer without a value means: Inconclusive, Success or Failure."""


@dataclass(frozen=True)
class Analysis:
    """`spec.analysis`."""

    address: str
    metrics: tuple[Metric, ...]
    range: str = "1m"


@dataclass(frozen=True)
class Contract:
    """`spec.migrations.contract`: when what only older releases used is taken away."""

    automatic: bool = False
    soak: int = 3600
    """Seconds after the promotion."""


@dataclass(frozen=True)
class Migrations:
    """`spec.migrations`."""

    secret: str
    timeout: int = 600
    database_wait: int = 60
    contract: Contract = field(default_factory=Contract)
    backup: Json | None = None
    """The Jobs that back up and restore, as the user wrote them."""


@dataclass(frozen=True)
class App:
    """An InventoryApp, parsed."""

    namespace: str
    name: str
    uid: str
    generation: int
    content: Json
    """The part of the spec that makes pods differ, as the user wrote it."""
    replicas: int = 1
    replicas_unset: bool = False
    """The spec has no `replicas`: the count that runs is kept, and written there so that an autoscaler can begin."""
    strategy: Strategy = field(default_factory=Strategy)
    analysis: Analysis | None = None
    migrations: Migrations | None = None
    freeze: bool = False
    """A release that fails is left as it is until a person says how to go on."""
    progress_deadline: int = 300
    image_pull_deadline: int = 60
    history_limit: int = 5
    paused: bool = False
    commands: Mapping[str, str] = field(default_factory=dict)
    """What people order, by command; see `commands`."""
    secrets: str = ""
    """Digest of the Secrets that the spec's release gets; empty if unknown, or if no pod is about to be started."""
    deleting: bool = False
    status: Json = field(default_factory=dict)

    @property
    def release(self) -> str:
        """Hash of the release that the spec describes; it names the Deployment."""
        return release_hash(self.content)


@dataclass(frozen=True)
class Pod:
    """A pod of a release or of a migration Job."""

    name: str
    owner: str
    """The release's hash for the service, the Job's UID for a Job."""
    created: datetime
    migrates: bool = False
    """It may change the database."""
    finished: bool = False
    """All its containers have ended for good."""
    scheduled: datetime | None = None
    ready: bool = False
    ready_since: datetime | None = None
    deleting: bool = False
    waiting_reason: str = ""
    waiting_message: str = ""
    termination_message: str = ""
    image_id: str = ""
    address: str = ""
    unready: str = ""
    """Why it isn't ready, in its own words."""
    waits: bool = False
    """It would be ready, but for a database that does not answer."""

    @property
    def cannot_start(self) -> bool:
        """Nothing of it has run, and nothing will before somebody or something else helps."""
        return self.waiting_reason in PULL_TROUBLE | {"CreateContainerConfigError", "Unschedulable"}


@dataclass(frozen=True)
class Deployment:
    """A release's Deployment."""

    name: str
    release: str
    record: Record
    replicas: int
    pods: int
    """Pods that exist, terminating ones not counted."""
    ready: int
    current: bool
    """The status is of what was last written, the record too: its controller has looked at it since."""
    settled: bool
    """It is current, and no pod of an older template is left."""
    deleting: bool
    resource_version: str
    image: str = ""
    """The image in its pod template, by digest once that is known."""
    revision_label: int = 0
    trouble: str = ""
    """Why its pods can't even be created, as a quota says it."""
    restarted: str = ""
    """What its pods were last restarted for: digest of the Secrets, and the command."""
    secret_names: tuple[str, ...] = ()
    """Of the Secrets that its pods get."""
    secrets: str = ""
    """Digest of what those hold now; as `App.secrets`."""

    @property
    def serving(self) -> int:
        """Ready pods that will stay: the status may lag behind a scale-down."""
        return min(self.ready, self.replicas)


@dataclass(frozen=True)
class Job:
    """A Job of a release or of an operation."""

    name: str
    uid: str
    revision: int
    attempt: int
    created: datetime
    step: str = "expand"
    """What it does: expand; gate1 by the number of a step; contract1, backup1 and so on by that of an operation."""
    complete: bool = False
    failed: bool = False
    reason: str = ""
    message: str = ""
    suspended: bool = False
    given_up: str = ""
    """Why the operator has stopped it for good."""
    deleting: bool = False

    @property
    def active(self) -> bool:
        """It may still do something."""
        return not (self.complete or self.failed or self.suspended)

    @property
    def gate(self) -> bool:
        """It is a gate of the user's, which does not touch the schema."""
        return self.step.startswith("gate")


@dataclass(frozen=True)
class Service:
    """The Service in front of the app's pods."""

    selector: Json
    as_wanted: bool
    """Everything but the selector is as this operator renders it."""

    @property
    def release(self) -> str | None:
        """Whose pods it selects; None: those of all."""
        return self.selector.get(LABEL_RELEASE)


@dataclass(frozen=True)
class Traffic:
    """What the router does now."""

    weight: int = 0
    """Of the candidate, in percent."""
    as_wanted: bool = True
    """Everything but the weight is as this operator renders it, or isn't its business."""
    trouble: str = ""
    """Why it can't be used, as that it isn't there."""
    present: bool = False
    """There is something of the operator's to take away, when nothing is divided any more."""


@dataclass(frozen=True)
class Observed:
    """All that a plan may look at."""

    app: App
    deployments: tuple[Deployment, ...] = ()
    jobs: tuple[Job, ...] = ()
    pods: tuple[Pod, ...] = ()
    service: Service | None = None
    candidate_service: Service | None = None
    traffic: Traffic | None = None
    """None where no router is asked for."""
    foreign: tuple[str, ...] = ()
    """Objects that have a name we need and belong to another owner."""
    leaving: tuple[str, ...] = ()
    """Those of a deleted InventoryApp of the same name: the cluster is about to take them away."""

    @cached_property
    def releases(self) -> tuple[Deployment, ...]:
        """Those that aren't being deleted."""
        return tuple(d for d in self.deployments if not d.deleting)

    @cached_property
    def stable(self) -> Deployment | None:
        """The release that serves by default."""
        promoted = (d for d in self.releases if d.record.stage is Stage.PROMOTED)
        return max(promoted, key=lambda d: d.record.revision, default=None)

    @cached_property
    def target(self) -> Deployment | None:
        """The release that the spec describes."""
        return next((d for d in self.releases if d.release == self.app.release), None)

    @property
    def on_their_way(self) -> bool:
        """A candidate is, though it may be about to be given up: no work on the database begins beside it."""
        return any(d.record.stage in (Stage.MIGRATING, Stage.ROLLING) for d in self.releases)

    @property
    def may_start_pods(self) -> bool:
        """Nothing else is awaited first, neither a Job nor pods: only then does it matter what the Secrets hold."""
        busy = any(job.active and not job.gate for job in self.jobs)
        return not busy and (self.target is None or self.target.ready >= self.target.replicas)

    def pods_of(self, release: Deployment) -> list[Pod]:
        """Without those that are being deleted."""
        return [p for p in self.pods if p.owner == release.release and not p.deleting]

    @cached_property
    def schema(self) -> tuple[datetime, DatabaseSchema] | None:
        """When and what the newest report of any release's Job said that the database has."""
        seen = [
            (d.record.schema_seen, d.record.database_schema)
            for d in self.releases
            if d.record.schema_seen and d.record.database_schema
        ]
        return max(seen, key=lambda report: report[0], default=None)

    @cached_property
    def operation(self) -> Operation | None:
        """The newest one, under way or over."""
        found = (d.record.operation for d in self.releases if d.record.operation)
        return max(found, key=lambda operation: operation.number, default=None)

    @property
    def operation_number(self) -> int:
        """Its number, 0 if there was none; the status remembers it when its Deployment is forgotten."""
        remembered = int((self.app.status.get("operation") or {}).get("number", 0))
        return max(self.operation.number if self.operation else 0, remembered)


def seconds_to(until: datetime | None, now: datetime) -> float | None:
    """Not sooner than in half a second: what is past by then has been looked at."""
    return max(0.5, (until - now).total_seconds()) if until else None


# --- canonical forms ----------------------------------------------------------------------------------------------


def release_content(spec: Json) -> dict[str, Any]:
    """The part of a spec that makes a release: what the user wrote, empty values left out.

    None of these fields has a default in the CRD, so neither a new CRD nor a new operator changes the result.
    """
    return {name: spec[name] for name in RELEASE_FIELDS if spec.get(name) not in (None, "", [], {})}


def release_hash(content: Json) -> str:
    """Ten hex digits over the canonical JSON of a release's content."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]
