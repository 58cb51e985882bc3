"""Work on the database besides expand: contract, downgrade, restore. Each begins by order, or contract by itself.

While one is under way nothing else is begun. Its intent is on a Deployment before its first step; a failed one isn't
tried again until told.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from inventory_api.migrations.rule import DatabaseSchema, objections

from . import commands, jobs
from .actions import Action, CreateJob, Emit, Outcome, Phase, Plan, UpdateDeployment
from .commands import Order
from .job_manifests import restorable
from .model import Deployment, Json, Observed, Operation, Record, Stage, Work, WorkStage, seconds_to
from .traffic import Shift

PHASES = {Work.CONTRACT: Phase.CONTRACTING, Work.DOWNGRADE: Phase.DOWNGRADING, Work.RESTORE: Phase.RESTORING}


@dataclass(frozen=True)
class Soak:
    """A contract that is to come: what it waits for, and until when."""

    said: str
    until: datetime | None = None


# --- which one, and when ------------------------------------------------------------------------------------------


def ordered(observed: Observed, now: datetime) -> Plan | None:
    """What was ordered begins when nothing else is under way; what makes no sense is refused and said."""
    order = commands.operation_ordered(observed)
    if order is None or observed.app.migrations is None or (observed.on_their_way and order.command != Work.RESTORE):
        return None
    stable = observed.stable
    if order.command == Work.CONTRACT and (stable is None or observed.target is not stable):
        return None
    holder = stable or max(observed.releases, key=lambda d: d.record.revision, default=None)
    if holder is None:
        return None
    try:
        begun = _BEGINS[Work(order.command)](observed, now, order, holder)
    except _RefusedError as refused:
        begun = Operation(
            Work(order.command),
            order.number,
            WorkStage.FAILED,
            now,
            order.revision,
            message=str(refused),
            ended=now,
            manual=_is_manual(observed.operation, stable),  # it takes the place of the one that made it so
        )
    return _begin(observed, holder, begun)


def contract_due(observed: Observed, now: datetime, stable: Deployment) -> Plan | Soak | None:
    """The contract begins, or what it waits for; None if there is nothing to contract."""
    app, pending = observed.app, _pending(observed, stable)
    if app.migrations is None or not pending or not stable.record.ended:
        return None
    names, number, last = ", ".join(pending), observed.operation_number + 1, observed.operation
    if _is_manual(last, stable) or not app.migrations.contract.automatic:
        order = f"inventory.dev/contract={app.uid}/{stable.record.revision}/{number}"
        return Soak(f"; contract {names} waits for the order {order}")
    due = stable.record.ended + timedelta(seconds=app.migrations.contract.soak)
    if now < due:
        return Soak(f"; contract {names} follows at {due:%Y-%m-%d %H:%M:%S} UTC", due)
    return _begin(observed, stable, _contract(observed, now, number, stable))


def _is_manual(last: Operation | None, stable: Deployment | None) -> bool:
    """Since the promotion something was contracted, failed to be, or was taken back: a person decides what is next."""
    promoted = stable.record.ended if stable else None
    return last is not None and last.manual and (promoted is None or last.started >= promoted)


def unclear_since(observed: Observed, seen: datetime) -> bool:
    """Whether the schema may be another one than was seen then: an operation failed since, and left no report."""
    found = (d.record.operation for d in observed.releases if d.record.operation)
    return any(each.unclear and each.ended and each.ended > seen for each in found)


def made_way_for(observed: Observed, record: Record) -> bool:
    """Whether a release that was refused may come now, because somebody ordered a way back for it since."""
    last = observed.operation
    if last is None or last.stage is not WorkStage.DONE or (record.ended and last.started < record.ended):
        return False
    # After a restore nothing serves: whatever is asked for may come.
    return last.kind is Work.RESTORE or (last.kind is Work.DOWNGRADE and last.revision == record.revision)


# --- the begin ----------------------------------------------------------------------------------------------------


class _RefusedError(Exception):
    """Why an order makes no sense."""


def _begin(observed: Observed, holder: Deployment, begun: Operation) -> Plan:
    """The intent, written down; or the refusal, which uses the number up."""
    said = _sentence(begun)
    kind, reason = ("Warning", begun.kind.failed) if begun.stage is WorkStage.FAILED else ("Normal", begun.kind.begun)
    if observed.schema and unclear_since(observed, observed.schema[0]):
        begun = replace(begun, unclear=True)  # it takes the place of the one that left it so
    update = UpdateDeployment(holder, record=replace(holder.record, operation=begun))
    event = Emit(kind, reason, said)
    return Plan(Outcome(PHASES[begun.kind], "OperationBegun", f"{said}."), (update, event))


def _contract(observed: Observed, now: datetime, number: int, stable: Deployment) -> Operation:
    """The contract of the stable release, which names beforehand whom it shuts out."""
    pending = _pending(observed, stable)
    lost = _shut_out(observed, stable, pending)
    after = f"no way back then to revision {', '.join(map(str, lost))}" if lost else "it shuts out none that is kept"
    message = f"contract {', '.join(pending)} of revision {stable.record.revision}: {after}"
    return Operation(Work.CONTRACT, number, WorkStage.DRAINING, now, stable.record.revision, message=message)


def _contract_ordered(observed: Observed, now: datetime, order: Order, holder: Deployment) -> Operation:
    if order.revision != holder.record.revision:
        raise _RefusedError(f"revision {order.revision} does not serve, revision {holder.record.revision} does")
    if not _pending(observed, holder):
        raise _RefusedError(f"revision {order.revision} has no contract migration that is not applied")
    return _contract(observed, now, order.number, holder)


def _downgrade(observed: Observed, now: datetime, order: Order, holder: Deployment) -> Operation:
    target, image = _of_revision(observed, order.revision), holder.record.image_schema
    if target is None or target.record.image_schema is None or observed.schema is None or image is None:
        raise _RefusedError(f"what revision {order.revision} knows of the schema is not known")
    _, schema = observed.schema
    goes = [revision for revision in schema.contract if revision not in target.record.image_schema.contract]
    if not goes:
        raise _RefusedError(f"no contract migration is applied that revision {order.revision} does not know")
    stays = tuple(revision for revision in schema.contract if revision not in goes)
    if against := objections(image, DatabaseSchema(schema.expand, stays)):
        serving = holder.record.revision
        raise _RefusedError(f"revision {serving}, which serves, would not run on it: {against[0].rstrip('.')}")
    message = f"contract {', '.join(goes)} is taken back, so that revision {order.revision} fits"
    return Operation(Work.DOWNGRADE, order.number, WorkStage.DRAINING, now, order.revision, message=message)


def _restore(observed: Observed, now: datetime, order: Order, _: Deployment) -> Operation:
    target, migrations = _of_revision(observed, order.revision), observed.app.migrations
    if target is None or not target.record.backup:
        raise _RefusedError(f"no backup is known that was taken before the contract of revision {order.revision}")
    if not restorable(migrations.backup if migrations else None):
        raise _RefusedError("spec.migrations.backup says no way to restore")
    backup = target.record.backup
    message = f"the backup {backup} is restored; the service stops for it"
    return Operation(Work.RESTORE, order.number, WorkStage.DRAINING, now, order.revision, backup, message)


_BEGINS = {Work.CONTRACT: _contract_ordered, Work.DOWNGRADE: _downgrade, Work.RESTORE: _restore}


def _pending(observed: Observed, stable: Deployment) -> tuple[str, ...]:
    """The contract revisions of the stable release that the database does not have yet."""
    image = stable.record.image_schema
    if observed.schema is None or image is None:
        return ()
    return tuple(revision for revision in image.contract if revision not in observed.schema[1].contract)


def _of_revision(observed: Observed, revision: int) -> Deployment | None:
    return next((d for d in observed.releases if d.record.revision == revision), None)


def _sentence(operation: Operation) -> str:
    """What is done or was refused, for an Event."""
    failed = " failed" if operation.stage is WorkStage.FAILED else ""
    return f"{operation.title}{failed}: {operation.message}"


# --- under way ----------------------------------------------------------------------------------------------------


def under_way(observed: Observed, now: datetime) -> Plan | None:
    """The present stage of the operation that isn't over: nothing else begins before it ends."""
    operation = observed.operation
    if operation is None or not operation.going:
        return None
    holder = next(d for d in observed.releases if d.record.operation is operation)
    return _Work(observed, now, holder, operation).plan()


@dataclass(frozen=True)
class _Work:
    observed: Observed
    now: datetime
    holder: Deployment
    operation: Operation

    def plan(self) -> Plan:
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
        """It takes the pods of its own release too."""
        return self.operation.kind is Work.RESTORE

    @property
    def _failure(self) -> str:
        """The reason of its Event."""
        return self.operation.kind.failed

    def _draining(self) -> Plan:
        """No pod of what it breaks is left, terminating ones counted; the command itself looks for their sessions."""
        going = [d for d in self.observed.deployments if self._stops or d is not self.holder]
        # Whoever is neither a Job's nor to stay goes, though his Deployment may be gone already.
        stay = {job.uid for job in self.observed.jobs} | ({self.holder.release} if not self._stops else set())
        left = [p.name for p in self.observed.pods if p.owner not in stay and not p.finished]
        counted = [d.name for d in going if d.pods or (d.replicas and not d.deleting)]
        if left or counted:
            soon = self.now + timedelta(seconds=jobs.ENDING_SECONDS)
            names = ", ".join((left or counted)[:3])
            return self._doing(f"waits for the end of {names}", until=soon)
        backs_up = self.operation.kind is Work.CONTRACT and self._backup is not None
        return self._to(WorkStage.BACKUP if backs_up else WorkStage.RUNNING, "no pod that it breaks is left")

    def _backing_up(self) -> Plan:
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

    def _running(self) -> Plan:
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

    def _looking(self) -> Plan:
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

    def _done(self, report: jobs.Report) -> Plan:
        """What the database has is known anew; releases that can't run on it are none to go back to by themselves."""
        ended = replace(self.operation, stage=WorkStage.DONE, ended=self.now)
        record = replace(self.holder.record, operation=ended, database_schema=report.database, schema_seen=self.now)
        others: list[Action] = []
        if self._stops:
            for other in self.observed.releases:
                serves_no_more = other.record.stage is Stage.PROMOTED and not _fits(other.record, report.database)
                # What was on its way has migrated another database than this one: it begins anew.
                if serves_no_more or other.record.stage in (Stage.MIGRATING, Stage.ROLLING):
                    left = replace(other.record, stage=Stage.LEFT, reason="Restored")
                    if other is self.holder:
                        record = replace(record, stage=Stage.LEFT, reason="Restored")
                    else:
                        others.append(UpdateDeployment(other, record=left))
        done = f"{self.operation.title} is done: {self.operation.message}"
        event = Emit("Normal", f"{self.operation.kind.title()}Done", done)
        # What ends the operation comes last: without it, all of this is done again.
        return self._doing("is done", *others, UpdateDeployment(self.holder, record=record), event)

    def _failed(self, said: str, *actions: Action, report: jobs.Report | None = None) -> Plan:
        unclear = self.operation.unclear or self.operation.stage is WorkStage.RUNNING
        ended = replace(self.operation, stage=WorkStage.FAILED, ended=self.now, message=said, unclear=unclear)
        record = replace(self.holder.record, operation=ended)
        if self.operation.stage is WorkStage.LOOKING:
            record = _of_unknown_schema(record)
        if report and (report.database.expand or report.database.contract):
            record = replace(record, database_schema=report.database, schema_seen=self.now)
        event = Emit("Warning", self._failure, _sentence(ended))
        return self._doing(f"failed: {said}", *actions, UpdateDeployment(self.holder, record=record), event)

    def _forgotten(self) -> Iterable[Action]:
        """What others knew of the schema is of yesterday: whatever comes next looks for itself, by its expand Job."""
        for other in self.observed.releases:
            if other is not self.holder:
                yield UpdateDeployment(other, record=_of_unknown_schema(other.record))

    def _to(self, stage: WorkStage, said: str) -> Plan:
        record = replace(self.holder.record, operation=replace(self.operation, stage=stage))
        return self._doing(said, UpdateDeployment(self.holder, record=record))

    def _doing(self, said: str, *actions: Action, until: datetime | None = None) -> Plan:
        kind = self.operation.kind
        said = f"{self.operation.title} {said} ({self.operation.message})."
        kept: Iterable[Action] = Shift(self.observed, self.now).settle(self.holder, alone=True)
        if self._stops:
            kept = (UpdateDeployment(d, replicas=0) for d in self.observed.releases if d.replicas)
        outcome = Outcome(PHASES[kind], f"{kind.title()}UnderWay", said)
        return Plan(outcome, (*kept, *actions), seconds_to(until, self.now))

    def _job(self, step: str, arguments: tuple[str, ...], job: Json | None, what: str) -> jobs.State:
        record = self.holder.record
        name = f"{step}{self.operation.number}"
        create = CreateJob(self.holder.release, record.revision, 1, self.holder.image, name, arguments, job)
        wanted = jobs.Wanted(create, what, self._failure, self.operation.started)
        return jobs.look(self.observed, self.now, wanted)

    @property
    def _backup(self) -> Json | None:
        migrations = self.observed.app.migrations
        return migrations.backup if migrations else None

    def _downgrade_to(self) -> str:
        """The newest contract revision that stays, or `base`."""
        known, target = self.observed.schema, _of_revision(self.observed, self.operation.revision)
        image = target.record.image_schema if target else None
        stays = [r for r in known[1].contract if r in image.contract] if known and image else []
        return stays[-1] if stays else "base"


# --- the compatibility rule, for people ---------------------------------------------------------------------------


def ways_out(observed: Observed, target: Deployment, database: DatabaseSchema) -> str:
    """The three ways for a release that the schema shuts out: one that fits, the downgrade, the restore."""
    app, number = observed.app, observed.operation_number + 1
    served = [d for d in observed.releases if d is not target and (d.record.served or d.record.stage is Stage.PROMOTED)]
    fit = [d for d in served if _fits(d.record, database)]
    best = max(fit, key=lambda d: d.record.revision, default=None)
    newest = f"apply revision {best.record.revision} ({best.record.image})" if best else "apply a newer release"
    down = f"inventory.dev/downgrade={app.uid}/{target.record.revision}/{number}"
    backups = [d for d in observed.releases if d.record.backup]
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


def _shut_out(observed: Observed, stable: Deployment, pending: tuple[str, ...]) -> list[int]:
    if observed.schema is None:
        return []
    _, schema = observed.schema
    after = DatabaseSchema(schema.expand, (*schema.contract, *pending))
    return sorted(d.record.revision for d in observed.releases if d is not stable and not _fits(d.record, after))
