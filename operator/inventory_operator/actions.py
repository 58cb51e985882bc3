"""What is to be done, as plain values.

`plan` makes them, `apply` carries the actions out, and `status` tells the outcome.
"""

from dataclasses import dataclass
from enum import StrEnum

from .model import Deployment, Job, Json, Metric, Record


@dataclass(frozen=True)
class CreateDeployment:
    """Begin a release: its Deployment, its number on it; without pods, if anything is to be done before them."""

    release: str
    record: Record
    replicas: int = 0


@dataclass(frozen=True)
class UpdateDeployment:
    """Change scale, record, image pin, revision label or cause of a restart; None leaves a part as it is."""

    deployment: Deployment
    replicas: int | None = None
    record: Record | None = None
    image: str | None = None
    restarted: str | None = None


@dataclass(frozen=True)
class DeleteDeployment:
    """Forget a release that is too old to keep."""

    deployment: Deployment


@dataclass(frozen=True)
class CreateJob:
    """Run the expand migrations of a release, or another step of it."""

    release: str
    revision: int
    attempt: int
    image: str
    step: str = "expand"
    arguments: tuple[str, ...] = ("migrate", "expand")
    """Of the image's own command; empty for a Job of the user's."""
    job: Json | None = None
    """The user's."""


@dataclass(frozen=True)
class SuspendJob:
    """Stop a Job whose pod never started, or that nobody waits for any more."""

    job: Job
    why: str = ""
    """It has failed by that: whoever looks next, though nothing else was written, finds it so."""


@dataclass(frozen=True)
class DeleteJob:
    """Forget a Job that nothing needs any more."""

    job: Job


@dataclass(frozen=True)
class ApplyService:
    """Bring the Service about, selecting the pods of one release, or of all (None) while pods are being replaced."""

    release: str | None
    candidate: bool = False
    """The one in front of the candidate."""


@dataclass(frozen=True)
class SetTraffic:
    """Tell the router the candidate's weight, in percent."""

    weight: int


@dataclass(frozen=True)
class EndTraffic:
    """Take away what the operator has added to the router."""


@dataclass(frozen=True)
class Measure:
    """Ask these metrics of a candidate, and write the answers into its record."""

    deployment: Deployment
    metrics: tuple[Metric, ...]
    stable: str
    """Hash of the stable release, empty without one."""


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
    | SetTraffic
    | EndTraffic
    | Measure
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
    CONTRACTING = "Contracting"
    DOWNGRADING = "Downgrading"
    RESTORING = "Restoring"


@dataclass(frozen=True)
class Outcome:
    """What a plan found: the phase, why, and one sentence for a person."""

    phase: Phase
    reason: str
    message: str


@dataclass(frozen=True)
class CommandState:
    """What became of an order."""

    command: str
    value: str
    state: str
    """Done, Failed, Taken, Awaited, Stale or Refused."""
    message: str


@dataclass(frozen=True)
class Plan:
    """The decision of one pass."""

    outcome: Outcome
    actions: tuple[Action, ...] = ()
    check_after: float | None = None
    """Seconds until a deadline wants a look, though nothing may have changed."""
    candidate: Deployment | None = None
    weight: int = 0
    """Of the candidate, in percent, as it is meant to be now."""
    commands: tuple[CommandState, ...] = ()
