"""Work on the database besides expand: contract, downgrade, restore. Each begins by order, or contract by itself.

While one is under way nothing else is begun. Its intent is on a Deployment before its first step; a failed one isn't
tried again until told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from inventory_api.migrations.rule import DatabaseSchema, objections

from . import jobs
from .commands import Order
from .job_manifests import restorable
from .model import (
    Action,
    App,
    CreateJob,
    Deployment,
    Emit,
    Json,
    Observed,
    Operation,
    Phase,
    Record,
    Stage,
    UpdateDeployment,
    Work,
    WorkStage,
    newest_schema,
)

PHASES = {Work.CONTRACT: Phase.CONTRACTING, Work.DOWNGRADE: Phase.DOWNGRADING, Work.RESTORE: Phase.RESTORING}
REASONS = {Work.CONTRACT: "ContractFailed", Work.DOWNGRADE: "DowngradeFailed", Work.RESTORE: "RestoreFailed"}


@dataclass(frozen=True)
class Doing:
    """What the present stage of an operation is about."""

    reason: str
    said: str
    actions: tuple[Action, ...] = ()
    until: datetime | None = None
    stops_service: bool = False


# --- which one, and when ------------------------------------------------------------------------------------------


def last(deployments: Iterable[Deployment]) -> Operation | None:
    """The newest operation of an app, under way or over."""
    found = [d.record.operation for d in deployments if d.record.operation]
    return max(found, key=lambda operation: operation.number, default=None)


def last_number(app: App, deployments: Iterable[Deployment]) -> int:
    """Its number, 0 if there was none; the status remembers it when its Deployment is forgotten."""
    found = last(deployments)
    remembered = int((app.status.get("operation") or {}).get("number", 0))
    return max(found.number if found else 0, remembered)


def under_way(deployments: Iterable[Deployment]) -> Deployment | None:
    """The Deployment that keeps the operation which isn't over."""
    going = [d for d in deployments if d.record.operation and d.record.operation.going]
    return max(going, key=lambda d: d.record.operation.number if d.record.operation else 0, default=None)


def pending_contract(stable: Deployment, deployments: Iterable[Deployment]) -> tuple[str, ...]:
    """The contract revisions of the stable release that the database does not have yet."""
    known, image = newest_schema(deployments), stable.record.image_schema
    if known is None or image is None:
        return ()
    return tuple(revision for revision in image.contract if revision not in known[1].contract)


def manual(stable: Deployment, deployments: Iterable[Deployment]) -> bool:
    """Since the promotion something was contracted, failed to be, or was taken back: a person decides what is next."""
    found = last(deployments)
    return found is not None and stable.record.ended is not None and found.started >= stable.record.ended


def unclear_since(seen: datetime, deployments: Iterable[Deployment]) -> bool:
    """Whether the schema may be another one than was seen then: an operation failed since, and left no report."""
    found = (d.record.operation for d in deployments if d.record.operation)
    return any(each.unclear and each.ended and each.ended > seen for each in found)


def made_way_for(target: Deployment, deployments: Iterable[Deployment]) -> bool:
    """Whether a release that was refused may come now, because somebody ordered a way back for it since."""
    found, record = last(deployments), target.record
    if found is None or found.stage is not WorkStage.DONE or (record.ended and found.started < record.ended):
        return False
    # After a restore nothing serves: whatever is asked for may come.
    return found.kind is Work.RESTORE or (found.kind is Work.DOWNGRADE and found.revision == record.revision)


# --- the begin ----------------------------------------------------------------------------------------------------


def contract(number: int, stable: Deployment, deployments: Sequence[Deployment], now: datetime) -> Operation:
    """The contract of the stable release, which names beforehand whom it shuts out."""
    pending = pending_contract(stable, deployments)
    lost = _shut_out(stable, deployments, pending)
    after = f"no way back then to revision {', '.join(map(str, lost))}" if lost else "it shuts out none that is kept"
    message = f"contract {', '.join(pending)} of revision {stable.record.revision}: {after}"
    return Operation(Work.CONTRACT, number, WorkStage.DRAINING, now, stable.record.revision, message=message)


def ordered(app: App, order: Order, holder: Deployment, deployments: Sequence[Deployment], now: datetime) -> Operation:
    """What was ordered: begun, or refused with the reason."""
    if order.command == Work.CONTRACT:
        if order.revision != holder.record.revision:
            said = f"revision {order.revision} does not serve, revision {holder.record.revision} does"
            return _refused(order, now, said)
        if not pending_contract(holder, deployments):
            return _refused(order, now, f"revision {order.revision} has no contract migration that is not applied")
        return contract(order.number, holder, deployments, now)
    if order.command == Work.DOWNGRADE:
        return _downgrade(order, holder, deployments, now)
    backup = next((d.record.backup for d in deployments if d.record.revision == order.revision), "")
    if not backup:
        return _refused(
            order, now, f"no backup is known that was taken before the contract of revision {order.revision}"
        )
    if not restorable(app.migrations.backup if app.migrations else None):
        return _refused(order, now, "spec.migrations.backup says no way to restore")
    message = f"the backup {backup} is restored; the service stops for it"
    return Operation(Work.RESTORE, order.number, WorkStage.DRAINING, now, order.revision, backup, message)


def _downgrade(order: Order, holder: Deployment, deployments: Sequence[Deployment], now: datetime) -> Operation:
    target = next((d for d in deployments if d.record.revision == order.revision), None)
    known, image = newest_schema(deployments), holder.record.image_schema
    if target is None or target.record.image_schema is None or known is None or image is None:
        return _refused(order, now, f"what revision {order.revision} knows of the schema is not known")
    goes = [revision for revision in known[1].contract if revision not in target.record.image_schema.contract]
    if not goes:
        return _refused(order, now, f"no contract migration is applied that revision {order.revision} does not know")
    stays = tuple(revision for revision in known[1].contract if revision not in goes)
    after = DatabaseSchema(known[1].expand, stays)
    if against := objections(image, after):
        said = f"revision {holder.record.revision}, which serves, would not run on it: {against[0].rstrip('.')}"
        return _refused(order, now, said)
    message = f"contract {', '.join(goes)} is taken back, so that revision {order.revision} fits"
    return Operation(Work.DOWNGRADE, order.number, WorkStage.DRAINING, now, order.revision, message=message)


def _refused(order: Order, now: datetime, said: str) -> Operation:
    return Operation(Work(order.command), order.number, WorkStage.FAILED, now, order.revision, message=said, ended=now)


def sentence(operation: Operation) -> str:
    """What is done or was refused, for an Event and the status."""
    if operation.stage is WorkStage.FAILED:
        return f"{operation.kind.value.title()} {operation.number} failed: {operation.message}"
    return f"{operation.kind.value.title()} {operation.number}: {operation.message}"


# --- under way ----------------------------------------------------------------------------------------------------


def go_on(observed: Observed, now: datetime, deployments: Sequence[Deployment], holder: Deployment) -> Doing:
    """The present stage of the operation that a Deployment keeps."""
    operation = holder.record.operation
    if operation is None or observed.app.migrations is None:
        raise ValueError("there is no operation, or no migrations any more")
    return _Work(observed, now, deployments, holder, operation).doing()


@dataclass(frozen=True)
class _Work:
    observed: Observed
    now: datetime
    deployments: Sequence[Deployment]
    holder: Deployment
    operation: Operation

    def doing(self) -> Doing:
        match self.operation.stage:
            case WorkStage.DRAINING:
                return self._draining()
            case WorkStage.BACKUP:
                return self._backing_up()
            case WorkStage.LOOKING:
                return self._looking()
            case _:
                return self._running()

    @property
    def _stops(self) -> bool:
        return self.operation.kind is Work.RESTORE

    def _draining(self) -> Doing:
        """No pod of what it breaks is left, terminating ones counted; the command itself looks for their sessions."""
        going = {d.release for d in self.deployments if self._stops or d is not self.holder}
        left = [p.name for p in self.observed.pods if p.owner in going and not p.finished]
        counted = [d.name for d in self.deployments if d.release in going and (d.pods or d.replicas)]
        if left or counted:
            soon = self.now + timedelta(seconds=jobs.ENDING_SECONDS)
            names = ", ".join((left or counted)[:3])
            return self._doing(f"waits for the end of {names}", until=soon)
        backs_up = self.operation.kind is Work.CONTRACT and self._backup is not None
        return self._to(WorkStage.BACKUP if backs_up else WorkStage.RUNNING, "no pod that it breaks is left")

    def _backing_up(self) -> Doing:
        match self._job("backup", (), self._backup, "backs up the database"):
            case jobs.Going(said, actions, until):
                return self._doing(said, *actions, until=until)
            case jobs.Failed(_, said, _, actions):
                return self._failed(f"no contract without its backup: {said}", *actions)
            case jobs.Done(said):
                changed = replace(self.operation, stage=WorkStage.RUNNING, backup=said)
                record = replace(self.holder.record, operation=changed, backup=said)
                event = Emit("Normal", "BackupTaken", f"Backup before contract {self.operation.number}: {said}")
                return self._doing(f"has its backup: {said}", UpdateDeployment(self.holder, record=record), event)

    def _running(self) -> Doing:
        kind = self.operation.kind
        if kind is Work.RESTORE:
            job: Json = {**(self._backup or {}), "reference": self.operation.backup}
            state = self._job("restore", (), job, "restores the backup")
        elif kind is Work.DOWNGRADE:
            state = self._job("downgrade", ("migrate", "downgrade", "--to", self._downgrade_to()), None, "is under way")
        else:
            state = self._job("contract", ("migrate", "contract"), None, "is under way")
        match state:
            case jobs.Going(said, actions, until):
                return self._doing(said, *actions, until=until)
            case jobs.Failed(_, said, report, actions):
                return self._failed(said, *actions, report=report)
            case jobs.Done(said, _, report):
                if report is None:
                    return self._to(WorkStage.LOOKING, f"the backup is restored ({said})")
                return self._done(report)

    def _looking(self) -> Doing:
        match self._job("look", ("migrate", "status"), None, "looks what the database has now"):
            case jobs.Going(said, actions, until):
                return self._doing(said, *actions, until=until)
            case jobs.Failed(_, said, _, actions):
                unknown = f"the backup is restored, but what the database has is unknown: {said}"
                return self._failed(unknown, *actions, *self._forgotten())
            case jobs.Done(_, _, report):
                if report is None:
                    raise AssertionError("a run of the migration command is done only with its report")
                return self._done(report)

    def _done(self, report: jobs.Report) -> Doing:
        """What the database has is known anew; releases that can't run on it are none to go back to by themselves."""
        ended = replace(self.operation, stage=WorkStage.DONE, ended=self.now)
        record = replace(self.holder.record, operation=ended, database_schema=report.database, schema_seen=self.now)
        others: list[Action] = []
        if self._stops:
            for other in self.deployments:
                serves_no_more = other.record.stage is Stage.PROMOTED and not _fits(other.record, report.database)
                # What was on its way has migrated another database than this one: it begins anew.
                if serves_no_more or other.record.stage in (Stage.MIGRATING, Stage.ROLLING):
                    left = replace(other.record, stage=Stage.LEFT, reason="Restored")
                    if other is self.holder:
                        record = replace(record, stage=Stage.LEFT, reason="Restored")
                    else:
                        others.append(UpdateDeployment(other, record=left))
        said = f"{self.operation.kind.value.title()} {self.operation.number} is done"
        event = Emit("Normal", f"{self.operation.kind.value.title()}Done", f"{said}: {self.operation.message}")
        # What ends the operation comes last: without it, all of this is done again.
        return self._doing("is done", *others, UpdateDeployment(self.holder, record=record), event)

    def _failed(self, said: str, *actions: Action, report: jobs.Report | None = None) -> Doing:
        unclear = self.operation.unclear or self.operation.stage is WorkStage.RUNNING
        ended = replace(self.operation, stage=WorkStage.FAILED, ended=self.now, message=said, unclear=unclear)
        record = replace(self.holder.record, operation=ended)
        if self.operation.stage is WorkStage.LOOKING:
            record = _of_unknown_schema(record)
        if report and (report.database.expand or report.database.contract):
            record = replace(record, database_schema=report.database, schema_seen=self.now)
        event = Emit("Warning", REASONS[self.operation.kind], sentence(ended))
        return self._doing(f"failed: {said}", *actions, UpdateDeployment(self.holder, record=record), event)

    def _forgotten(self) -> Iterable[Action]:
        """What others knew of the schema is of yesterday: whatever comes next looks for itself, by its expand Job."""
        for other in self.deployments:
            if other is not self.holder:
                yield UpdateDeployment(other, record=_of_unknown_schema(other.record))

    def _to(self, stage: WorkStage, said: str) -> Doing:
        record = replace(self.holder.record, operation=replace(self.operation, stage=stage))
        return self._doing(said, UpdateDeployment(self.holder, record=record))

    def _doing(self, said: str, *actions: Action, until: datetime | None = None) -> Doing:
        name = f"{self.operation.kind.value.title()} {self.operation.number}"
        reason = f"{self.operation.kind.value.title()}UnderWay"
        return Doing(reason, f"{name} {said} ({self.operation.message})", tuple(actions), until, self._stops)

    def _job(self, step: str, arguments: tuple[str, ...], job: Json | None, what: str) -> jobs.State:
        record = self.holder.record
        name = f"{step}{self.operation.number}"
        create = CreateJob(self.holder.release, record.revision, 1, self.holder.image, name, arguments, job)
        failure = REASONS[self.operation.kind]
        wanted = jobs.Wanted(create, what, failure, self.operation.started, self.observed.app.image_pull_deadline)
        return jobs.look(self.observed, self.now, wanted)

    @property
    def _backup(self) -> Json | None:
        migrations = self.observed.app.migrations
        return migrations.backup if migrations else None

    def _downgrade_to(self) -> str:
        """The newest contract revision that stays, or `base`."""
        known = newest_schema(self.deployments)
        target = next((d for d in self.deployments if d.record.revision == self.operation.revision), None)
        image = target.record.image_schema if target else None
        stays = [r for r in known[1].contract if r in image.contract] if known and image else []
        return stays[-1] if stays else "base"


# --- the compatibility rule, for people ---------------------------------------------------------------------------


def ways_out(app: App, target: Deployment, deployments: Sequence[Deployment], database: DatabaseSchema) -> str:
    """The three ways for a release that the schema shuts out: one that fits, the downgrade, the restore."""
    fit = [
        d for d in deployments if d is not target and _fits(d.record, database) and d.record.stage is not Stage.FAILED
    ]
    best = max(fit, key=lambda d: d.record.revision, default=None)
    newest = f"apply revision {best.record.revision} ({best.record.image})" if best else "apply a newer release"
    number = last_number(app, deployments) + 1
    down = f"inventory.dev/downgrade={app.uid}/{target.record.revision}/{number}"
    backups = [d for d in deployments if d.record.backup]
    backed = max(backups, key=lambda d: d.record.revision, default=None)
    restore = (
        f"restore the backup {backed.record.backup} by the order "
        f"inventory.dev/restore={app.uid}/{backed.record.revision}/{number}"
        if backed
        else "restore a backup from before that contract"
    )
    take_back = f"take the contract back, if it is lossless, by the order {down}"
    return f"{newest}, which runs on this schema; or {take_back}; or {restore}"


def _of_unknown_schema(record: Record) -> Record:
    stage = record.stage if record.stage is Stage.FAILED else Stage.LEFT
    return replace(record, stage=stage, database_schema=None, schema_seen=None)


def _fits(record: Record, database: DatabaseSchema) -> bool:
    return record.image_schema is not None and not objections(record.image_schema, database)


def _shut_out(stable: Deployment, deployments: Sequence[Deployment], pending: tuple[str, ...]) -> list[int]:
    known = newest_schema(deployments)
    if known is None:
        return []
    after = DatabaseSchema(known[1].expand, (*known[1].contract, *pending))
    return sorted(d.record.revision for d in deployments if d is not stable and not _fits(d.record, after))
