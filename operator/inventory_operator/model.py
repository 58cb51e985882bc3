"""The world as plain values: what was observed, what a release is, and what is to be done.

Nothing here talks to anybody. `observe` fills these, `plan` decides over them, `apply` carries the actions out.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema

GROUP = "inventory.dev"
VERSION = "v1alpha1"
KIND = "InventoryApp"
PLURAL = "inventoryapps"

LABEL_APP = "inventory.dev/app"
LABEL_RELEASE = "inventory.dev/release"
LABEL_REVISION = "inventory.dev/revision"
ANNOTATION_RECORD = "inventory.dev/record"
LABEL_ATTEMPT = "inventory.dev/attempt"
ANNOTATION_RETRY = "inventory.dev/retry"

PULL_TROUBLE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "ErrImageNeverPull"}
)

RELEASE_FIELDS = ("image", "imagePullPolicy", "imagePullSecrets", "config", "secrets", "template")

Json = Mapping[str, Any]


class Stage(StrEnum):
    """How far a release has come. `promoted` with the highest revision is the stable one."""

    MIGRATING = "migrating"
    ROLLING = "rolling"
    PROMOTED = "promoted"
    FAILED = "failed"
    LEFT = "left"  # superseded or aborted: may be tried again under a new number


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


@dataclass(frozen=True)
class Rolling:
    """`spec.strategy.rolling`; an amount is a number of pods or a percentage of `replicas`."""

    max_surge: int | str = "25%"
    max_unavailable: int | str = 0


@dataclass(frozen=True)
class Migrations:
    """`spec.migrations`."""

    secret: str
    timeout: int = 600
    database_wait: int = 60


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
    rolling: Rolling = field(default_factory=Rolling)
    migrations: Migrations | None = None
    progress_deadline: int = 300
    image_pull_deadline: int = 60
    history_limit: int = 5
    paused: bool = False
    retry: int | None = None
    """Revision that `inventory.dev/retry` names: if it is the failed one, it is tried again under a new number."""
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
    """The release's hash for the service, the Job's UID for a migration."""
    created: datetime
    migrates: bool = False
    finished: bool = False
    """All its containers have ended for good."""
    scheduled: datetime | None = None
    ready: bool = False
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
    settled: bool
    """The status is of the current spec, and no pod of an older template is left."""
    deleting: bool
    resource_version: str
    image: str = ""
    """The image in its pod template, by digest once that is known."""
    revision_label: int = 0
    trouble: str = ""
    """Why its pods can't even be created, as a quota says it."""

    @property
    def serving(self) -> int:
        """Ready pods that will stay: the status may lag behind a scale-down."""
        return min(self.ready, self.replicas)


@dataclass(frozen=True)
class Job:
    """A migration Job."""

    name: str
    uid: str
    revision: int
    attempt: int
    created: datetime
    complete: bool = False
    failed: bool = False
    reason: str = ""
    message: str = ""
    suspended: bool = False
    deleting: bool = False

    @property
    def active(self) -> bool:
        """It may still migrate."""
        return not (self.complete or self.failed or self.suspended)


@dataclass(frozen=True)
class Service:
    """The Service in front of the app's pods."""

    selector: Json
    as_wanted: bool
    """Everything but the selector is as this operator renders it."""


@dataclass(frozen=True)
class Observed:
    """All that a plan may look at."""

    app: App
    deployments: tuple[Deployment, ...] = ()
    jobs: tuple[Job, ...] = ()
    pods: tuple[Pod, ...] = ()
    service: Service | None = None
    foreign: tuple[str, ...] = ()
    """Objects that have a name we need and belong to another owner."""
    leaving: tuple[str, ...] = ()
    """Those of a deleted InventoryApp of the same name: the cluster is about to take them away."""


def newest_schema(deployments: Iterable[Deployment]) -> tuple[datetime, DatabaseSchema] | None:
    """When and what the newest report of any release's Job said that the database has."""
    seen = [
        (d.record.schema_seen, d.record.database_schema)
        for d in deployments
        if d.record.schema_seen and d.record.database_schema
    ]
    return max(seen, key=lambda report: report[0], default=None)


# --- what is to be done -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateDeployment:
    """Begin a release: its Deployment at zero replicas, its number on it."""

    release: str
    record: Record


@dataclass(frozen=True)
class UpdateDeployment:
    """Change scale, record, image pin or revision label; None leaves a part as it is."""

    deployment: Deployment
    replicas: int | None = None
    record: Record | None = None
    image: str | None = None


@dataclass(frozen=True)
class DeleteDeployment:
    """Forget a release that is too old to keep."""

    deployment: Deployment


@dataclass(frozen=True)
class CreateJob:
    """Run the expand migrations of a release."""

    release: str
    revision: int
    attempt: int
    image: str


@dataclass(frozen=True)
class SuspendJob:
    """Stop a Job whose pod never started."""

    job: Job


@dataclass(frozen=True)
class DeleteJob:
    """Forget a Job that nothing needs any more."""

    job: Job


@dataclass(frozen=True)
class ApplyService:
    """Bring the Service about, selecting the pods of one release, or of all (None) while pods are being replaced."""

    release: str | None


@dataclass(frozen=True)
class SetReplicas:
    """Write `spec.replicas`, through the scale subresource as an autoscaler does."""

    replicas: int


@dataclass(frozen=True)
class Emit:
    """An Event on the InventoryApp."""

    type: str
    reason: str
    message: str


Action = (
    CreateDeployment
    | UpdateDeployment
    | DeleteDeployment
    | CreateJob
    | SuspendJob
    | DeleteJob
    | ApplyService
    | SetReplicas
    | Emit
)


class Phase(StrEnum):
    """`status.phase`."""

    PENDING = "Pending"
    MIGRATING = "Migrating"
    PROGRESSING = "Progressing"
    HEALTHY = "Healthy"
    PAUSED = "Paused"
    FAILED = "Failed"


@dataclass(frozen=True)
class Outcome:
    """What a plan found: the phase, why, and one sentence for a person."""

    phase: Phase
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """The decision of one pass."""

    outcome: Outcome
    actions: tuple[Action, ...] = ()
    check_after: float | None = None
    """Seconds until a deadline wants a look, though nothing may have changed."""
    stable: Deployment | None = None
    candidate: Deployment | None = None


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
