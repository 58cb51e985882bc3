"""A run of the migration command: look, decide, do, report."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog
from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from inventory_api.migrations.apply import Step, take_step
from inventory_api.migrations.decision import Decision, Facts, decide_contract, decide_downgrade, decide_expand
from inventory_api.migrations.grants import grant_to_service
from inventory_api.migrations.history import (
    AppliedRevision,
    applied_revisions,
    records,
    schema_history,
    schema_owner,
    select_applied,
)
from inventory_api.migrations.locks import MissedLock, held_locks, missed_lock
from inventory_api.migrations.plan import planned_revisions
from inventory_api.migrations.result import Outcome, Result
from inventory_api.migrations.revisions import Image, read_image
from inventory_api.migrations.session import (
    ConnectionLostError,
    InterruptedRunError,
    Interruption,
    Limits,
    TimeLimitError,
    WaitedTooLongError,
    connected,
    database_error,
    in_transaction,
    is_connection_loss,
    last_line,
    locked_connection,
    sqlstate,
)
from inventory_api.settings import SERVICE_APPLICATION_NAME, MigrationSettings

log = structlog.get_logger()

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 2.0, 5.0
_WORTH_ANOTHER_ATTEMPT = ("55P03", "40P01")  # lock_not_available, deadlock_detected


class MigrationFailedError(Exception):
    """A migration failed by its own fault; all of it is rolled back."""


class RefusedError(Exception):
    """A rule forbids this run; nothing was tried."""


class MigrationRun:
    """One run. It keeps what it has seen and done, because it owes a report however it ends."""

    def __init__(self, settings: MigrationSettings, interruption: Interruption, image: Image | None = None) -> None:
        self._settings = settings
        self._interruption = interruption
        self._limits = Limits(settings.migration_wait_seconds, settings.migration_timeout_seconds)
        self._facts = Facts(image or read_image(), app_uid=settings.app_uid, service_role=settings.service_role)
        self._applied: list[str] = []
        self._reverted: list[str] = []

    def expand(self) -> Result:
        """Applies the pending expand migrations; on a fresh database the contract migrations after them."""
        return self._reported("applied", lambda: self._migrate(decide_expand))

    def contract(self) -> Result:
        """Applies the pending contract migrations: the point of no return for older releases."""
        return self._reported("applied", lambda: self._migrate(decide_contract))

    def downgrade(self, to: str) -> Result:
        """Takes applied contract migrations back, newest first, as far as `to`, which stays; all of them for `base`."""
        return self._reported("downgraded", lambda: self._migrate(lambda facts: decide_downgrade(facts, to)))

    def status(self) -> Result:
        return self._reported("status", self._look)

    def plan(self, write: Callable[[str], object]) -> Result:
        """Hands a line of JSON for each pending migration to `write`. The error is why `expand` would be refused."""

        def show() -> None:
            self._look()
            for revision in planned_revisions(self._facts):
                write(revision.line())

        result = self._reported("plan", show)
        return replace(result, error=decide_expand(self._facts).refusal) if result.outcome == "plan" else result

    def adopt(self) -> Result:
        """Makes the InventoryApp of the settings the owner, whichever was it before."""
        return self._reported("nothing", self._adopt)

    def _reported(self, success: Outcome, step: Callable[[], None]) -> Result:
        started = time.monotonic()
        outcome, error = success, ""
        with self._interruption:
            try:
                step()
            except (WaitedTooLongError, ConnectionLostError, InterruptedRunError) as reason:
                outcome, error = "waiting", str(reason)
            except RefusedError as reason:
                outcome, error = "refused", str(reason)
            except (MigrationFailedError, TimeLimitError) as reason:
                outcome, error = "failed", str(reason)
            except DBAPIError as reason:
                outcome, error = ("waiting" if is_connection_loss(reason) else "failed"), last_line(reason)
            except Exception as reason:
                log.exception("migration run failed")
                outcome, error = "failed", f"{type(reason).__name__}: {last_line(reason)}"
        if outcome in ("applied", "downgraded") and not (self._applied or self._reverted):
            outcome = "nothing"
        return Result(
            outcome,
            self._facts.image.schema,
            self._facts.schema,
            tuple(self._applied),
            tuple(reversed(self._reverted)),
            error,
            time.monotonic() - started,
        )

    def _look(self) -> None:
        with connected(self._url, self._application_name, self._limits, self._interruption) as connection:
            self._facts = self._observe(connection)

    def _migrate(self, decide: Callable[[Facts], Decision]) -> None:
        with self._locked() as connection:
            self._facts = self._observe(connection)
            decision = decide(self._facts)
            if decision.refusal:
                raise RefusedError(decision.refusal)
            self._claim(connection)
            for step in self._steps(decision):
                self._interruption.check()
                self._take(connection, step)
            self._finish(connection, all_expanded=decide is decide_expand)

    def _steps(self, decision: Decision) -> Iterator[Step]:
        image = self._facts.image
        known = {revision.identifier: revision for revision in (*image.expand, *image.contract)}
        for name in (*decision.expand, *decision.contract):
            yield Step(known[name], "up")
        for name in decision.revert:
            yield Step(known[name], "down")

    def _adopt(self) -> None:
        if not self._settings.app_uid:
            raise RefusedError("INVENTORY_APP_UID must name the InventoryApp that adopts this database")
        with self._locked() as connection:
            self._facts = self._observe(connection)
            self._claim(connection)
            with in_transaction(connection):
                connection.execute(update(schema_owner).values(app_uid=self._settings.app_uid, since=func.now()))

    @contextmanager
    def _locked(self) -> Iterator[Connection]:
        with locked_connection(self._url, self._application_name, self._limits, self._interruption) as connection:
            self._interruption.limit(self._limits.timeout_seconds)
            yield connection

    def _observe(self, connection: Connection) -> Facts:
        """Facts are taken under the lock, or they may be of yesterday."""
        known = connection.scalar(select(func.to_regclass(f"public.{schema_history.name}"))) is not None
        applied = applied_revisions(connection.execute(select_applied()).all()) if known else ()
        owner = connection.execute(select(schema_owner)).one_or_none() if known else None
        role = self._settings.service_role
        return replace(
            self._facts,
            applied=applied,
            owner=owner.app_uid if owner else "",
            contract_follows=owner.contract_follows if owner else not applied,
            service_role_exists=bool(
                connection.scalar(text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role})
            ),
            other_sessions=self._other_sessions(connection),
        )

    def _other_sessions(self, connection: Connection) -> tuple[str, ...]:
        query = text(
            "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database() "
            "AND starts_with(application_name, :service) AND application_name <> :own ORDER BY 1"
        )
        own = f"{SERVICE_APPLICATION_NAME}/{self._settings.release}"
        return tuple(connection.scalars(query, {"service": f"{SERVICE_APPLICATION_NAME}/", "own": own}))

    def _claim(self, connection: Connection) -> None:
        """Creates the records, and writes the owner down before the first migration."""
        with in_transaction(connection):
            records.create_all(connection)
            connection.execute(
                insert(schema_owner)
                .values(app_uid=self._settings.app_uid, contract_follows=self._facts.contract_follows)
                .on_conflict_do_nothing()
            )
            if self._settings.app_uid:
                connection.execute(
                    update(schema_owner).where(schema_owner.c.app_uid == "").values(app_uid=self._settings.app_uid)
                )

    def _take(self, connection: Connection, step: Step) -> None:
        revision = step.revision
        log.info("migration starts", revision=revision.identifier, history=revision.history, direction=step.direction)
        self._attempt_until_locked(connection, step)
        others = tuple(each for each in self._facts.applied if each.identifier != revision.identifier)
        if step.direction == "up":
            self._applied.append(revision.identifier)
            done = AppliedRevision(revision.identifier, revision.history, revision.checksum, self._settings.release)
            self._facts = replace(self._facts, applied=(*others, done))
        else:
            self._reverted.append(revision.identifier)
            self._facts = replace(self._facts, applied=others)
        log.info(
            "migration applied" if step.direction == "up" else "migration taken back", revision=revision.identifier
        )

    def _attempt_until_locked(self, connection: Connection, step: Step) -> None:
        """A backup that holds a table for an hour is no fault of the migration: only the time limit ends the attempts.

        The service queues behind a waiting statement, so each one waits shortly, and then lets the service through.
        """
        missed: list[MissedLock] = []
        try:
            while lock := self._attempt(connection, step):
                missed.append(lock)
                log.warning(
                    "migration did not get its lock and tries again",
                    revision=step.revision.identifier,
                    attempt=len(missed),
                    statement=lock.statement,
                    held_by=lock.held_by,
                )
                self._interruption.pause(min(_SHORTEST_PAUSE_SECONDS + len(missed) - 1, _LONGEST_PAUSE_SECONDS))
        except TimeLimitError as reason:
            vain = f"; attempts that never got their lock: {len(missed)}, for {missed[-1]}" if missed else ""
            raise TimeLimitError(f"{step} failed: {reason}{vain}") from reason
        except InterruptedRunError as reason:
            raise InterruptedRunError(f"{reason}; {step} was rolled back") from reason

    def _attempt(self, connection: Connection, step: Step) -> MissedLock | None:
        """Takes the step, or returns the lock that it did not get."""
        before = held_locks(connection)
        try:
            settings = self._settings
            take_step(connection, step, settings.release, settings.service_role, self._interruption.check)
        except Exception as error:
            self._interruption.check()
            if connection.invalidated:
                said = last_line(database_error(error))
                raise ConnectionLostError(f"{step} lost its connection: {said}") from error
            if isinstance(error, DBAPIError) and sqlstate(error) in _WORTH_ANOTHER_ATTEMPT:
                return missed_lock(error.statement or "", before, held_locks(connection))
            log.exception("migration failed", revision=step.revision.identifier, direction=step.direction)
            raise MigrationFailedError(f"{step} failed: {last_line(error)}") from error
        return None

    def _finish(self, connection: Connection, *, all_expanded: bool) -> None:
        with in_transaction(connection):
            grant_to_service(connection, self._settings.service_role)
            if all_expanded and self._facts.contract_follows:
                connection.execute(update(schema_owner).values(contract_follows=False))

    @property
    def _url(self) -> str:
        return self._settings.migration_database_url.get_secret_value()

    @property
    def _application_name(self) -> str:
        return f"inventory-migration/{self._settings.release}"
