"""The one database session of a migration run: direct, with limits, and ended from outside when it must."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psycopg2
from psycopg2.extensions import connection as PsycopgConnection  # noqa: N812 - a class in spite of its name
from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

POLL_SECONDS = 1.0
# As long as a statement waits for a lock on a table, the service's queries on it wait behind it.
LOCK_TIMEOUT_SECONDS = 1
_LOCK_KEY = 0x696E76656E746F72  # "inventor"
_UNLESS_IN_THE_URL = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_CANCEL_SECONDS = 1.0
# A process that is killed closes its connection. A node that dies doesn't: without these, its session and all of its
# locks would stay until the server's own keepalives give up, after two hours.
_GIVE_UP_A_DEAD_CLIENT = {
    "client_connection_check_interval": "2s",
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
}
_CONNECTION_LOST = ("08", "57P")  # SQLSTATE classes: connection exception, operator intervention by shutdown


class WaitedTooLongError(Exception):
    """The database or the lock could not be had in time; nothing was tried."""


class ConnectionLostError(Exception):
    """The database went away in the midst of something; it has rolled that back."""


class InterruptedRunError(Exception):
    """The run was told to stop; what was under way is rolled back."""


class TimeLimitError(Exception):
    """Migrating took longer than allowed; what was under way is rolled back."""


class Interruption:
    """Ends a run from another thread: by the time limit, or because the process is told to stop.

    psycopg2 waits inside libpq, where neither a Python signal handler nor a deadline gets its turn; a cancel request
    from another thread does. It is repeated until the run ends, because one that arrives between two statements
    cancels nothing.
    """

    def __init__(self) -> None:
        self._reason: Exception | None = None
        self._interrupted = threading.Event()
        self._ended = threading.Event()
        self._connection: PsycopgConnection | None = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._ended.set()

    def limit(self, seconds: float) -> None:
        """Starts the time limit of migrating; waiting for database and lock has one of its own."""
        self._timer = threading.Timer(
            seconds, lambda: self.interrupt(TimeLimitError(f"migrating took longer than {seconds:g} s"))
        )
        self._timer.daemon = True
        self._timer.start()

    def watch(self, connection: PsycopgConnection) -> None:
        self._connection = connection

    def interrupt(self, reason: Exception) -> None:
        """Gives the run its reason to end. The first one counts."""
        if self._reason is None:
            self._reason = reason
            self._interrupted.set()
            threading.Thread(target=self._cancel_until_the_end, daemon=True).start()

    def _cancel_until_the_end(self) -> None:
        while not self._ended.is_set():
            if self._connection is not None:
                # A connection that is lost or closed has nothing left to cancel.
                with suppress(psycopg2.Error):
                    self._connection.cancel()
            self._ended.wait(_CANCEL_SECONDS)

    def pause(self, seconds: float) -> None:
        """Waits, but not longer than the run may go on."""
        self._interrupted.wait(seconds)
        self.check()

    def check(self) -> None:
        if self._reason is not None:
            raise self._reason


@dataclass(frozen=True)
class Limits:
    wait_seconds: float
    timeout_seconds: float


@contextmanager
def locked_connection(
    url: str, application_name: str, limits: Limits, interruption: Interruption
) -> Iterator[Connection]:
    """A connection in autocommit that holds the migration lock as long as it lives.

    Lock and migrations share one session on purpose: a run that loses its lock has lost its transaction too, so two
    runs never change the schema at once. The lock is polled, because a session that waits in pg_advisory_lock holds a
    snapshot, for which another session's CREATE INDEX CONCURRENTLY would wait in turn.

    Raises WaitedTooLongError when `limits.wait_seconds` are over before the lock is held.
    """
    deadline = time.monotonic() + limits.wait_seconds
    with connected(url, application_name, limits, interruption) as connection:
        while not connection.scalar(select(func.pg_try_advisory_lock(_LOCK_KEY))):
            if time.monotonic() >= deadline:
                raise WaitedTooLongError(
                    f"another migration run held the lock for all of the {limits.wait_seconds:g} s that may be waited"
                )
            interruption.pause(POLL_SECONDS)
        yield connection


@contextmanager
def connected(url: str, application_name: str, limits: Limits, interruption: Interruption) -> Iterator[Connection]:
    """A connection in autocommit to a database that may take `limits.wait_seconds` to come up.

    Raises WaitedTooLongError when there is no connection by then.
    """
    address = make_url(url).set(drivername="postgresql+psycopg2")
    engine = create_engine(
        address,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "application_name": application_name,
            "target_session_attrs": "read-write",  # of several hosts, and of one that has become a standby
            **{name: value for name, value in _UNLESS_IN_THE_URL.items() if name not in address.query},
            "options": _options(str(address.query.get("options", "")), limits),
        },
    )
    deadline = time.monotonic() + limits.wait_seconds
    while True:
        interruption.check()
        try:
            connection = engine.connect()
            break
        except OperationalError as error:
            if time.monotonic() >= deadline:
                raise WaitedTooLongError(
                    f"the database could not be reached for {limits.wait_seconds:g} s: {last_line(error)}"
                ) from error
        interruption.pause(POLL_SECONDS)
    with connection:
        driver_connection = connection.connection.driver_connection
        assert isinstance(driver_connection, PsycopgConnection)  # noqa: S101 - the driver is chosen above
        interruption.watch(driver_connection)
        try:
            yield connection
        except DBAPIError:
            interruption.check()
            raise


def _options(given: str, limits: Limits) -> str:
    """The URL's options and ours; of a setting that comes twice, the server takes the last."""
    settings = {
        "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
        "statement_timeout": f"{math.ceil(limits.timeout_seconds)}s",
        **_GIVE_UP_A_DEAD_CLIENT,
        "search_path": "public",
        "timezone": "UTC",
    }
    return " ".join([given, *(f"-c {name}={value}" for name, value in settings.items())]).strip()


@contextmanager
def in_transaction(connection: Connection) -> Iterator[None]:
    """A real transaction on a connection that is else in autocommit; for Alembic, which begins its own, see below."""
    with transactional(connection), connection.begin():
        yield


@contextmanager
def transactional(connection: Connection) -> Iterator[None]:
    """Takes the connection out of autocommit; what the block leaves open is rolled back."""
    connection.commit()
    connection.execution_options(isolation_level="READ COMMITTED")
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.execution_options(isolation_level="AUTOCOMMIT")


def last_line(error: BaseException) -> str:
    """The last line of an error that says something: for the database, its own words without the statement."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    diagnosis = getattr(getattr(cause, "diag", None), "message_primary", None)
    if diagnosis:
        return str(diagnosis)
    # libpq indents what it only guesses.
    lines = [line.strip() for line in str(cause).splitlines() if line.strip() and not line.startswith("\t")]
    return lines[-1] if lines else type(cause).__name__


def is_connection_loss(error: DBAPIError) -> bool:
    return error.connection_invalidated or sqlstate(error).startswith(_CONNECTION_LOST)


def database_error(error: BaseException) -> BaseException:
    """What the database said, where cleaning up after it has raised an error of its own; else the error itself."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, DBAPIError):
        behind = behind.__context__
    return behind or error


def sqlstate(error: BaseException) -> str:
    """The database's code of an error, or nothing."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "pgcode", None) or ""
