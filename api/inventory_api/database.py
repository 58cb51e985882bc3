"""The service's way to PostgreSQL: pool, limits, and what counts as 'the database is away'."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import structlog
from asyncpg.exceptions import InvalidCachedStatementError, TargetServerAttributeNotMatched
from sqlalchemy import Connection, MetaData, event, func, select
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL, Dialect, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from inventory_api.libpq import asyncpg_arguments
from inventory_api.pool import WatchedPool
from inventory_api.reads import Reads
from inventory_api.settings import SERVICE_APPLICATION_NAME, ServiceSettings

log = structlog.get_logger()

_IDLE_SECONDS = 1.0
# The server ends a statement first; the client's limit, so much later, is for a server that does not answer at all.
_ANSWER_SECONDS_MORE = 2
# Statements that each connection keeps prepared; the service has some dozens of different ones.
_PREPARED_STATEMENTS = 100
_READ_ONLY = "25006"
_FOREIGN_KEY = "23503"
# SQLSTATEs after which the same request may succeed a moment later.
_PASSING = ("08", "53", "57", "40", "55P03", _READ_ONLY)
# A server that only reads, where another may write; and a statement that was prepared before a migration changed what
# it returns, which is prepared anew the next time.
_PASSING_IN_THE_DRIVER = (TargetServerAttributeNotMatched, InvalidCachedStatementError)
# SQLSTATEs of a connection that is lost; by any other, the server says that it has undone the transaction.
_CONNECTION_LOST = ("08", "57P")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )


class OutcomeUnknownError(Exception):
    """The connection was lost at the commit: the work may be kept or undone."""


def create_engine(settings: ServiceSettings) -> AsyncEngine:
    engine = create_async_engine(
        _address(settings),
        poolclass=WatchedPool,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_overflow,
        pool_timeout=settings.database_pool_wait_seconds,
        pool_recycle=settings.database_recycle_seconds,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={"prepared_statement_cache_size": _PREPARED_STATEMENTS, **_connect_arguments(settings)},
    )
    event.listen(engine.sync_engine, "checkin", _note_use)
    event.listen(engine.sync_engine, "checkout", partial(_ping_after_idling, engine.sync_engine.dialect))
    event.listen(engine.sync_engine, "do_connect", _try_each_host)
    event.listen(engine.sync_engine, "handle_error", _leave_read_only_server)
    if _is_pooled(settings):
        event.listen(engine.sync_engine, "begin", partial(_set_for_transaction, _session_limits(settings)))
    return engine


def create_reads(settings: ServiceSettings) -> Reads:
    limits = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _session_limits(settings).items())
    _, where = PGDialect_asyncpg().create_connect_args(_address(settings))  # type: ignore[no-untyped-call]
    return Reads(
        partial(_connect, where, _connect_arguments(settings)),
        size=settings.database_read_pool_size,
        wait_seconds=settings.database_pool_wait_seconds,
        recycle_seconds=settings.database_recycle_seconds,
        in_transaction_after=f"SELECT {limits}" if _is_pooled(settings) else None,
    )


async def _connect(where: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """A connection to the first of the hosts that can be had, each of which gets its own time."""
    if not isinstance(where.get("host"), list):
        return await asyncpg.connect(**where, **arguments)
    *first, last = zip(where["host"], where["port"], strict=True)
    for host, port in first:
        try:
            return await asyncpg.connect(**{**where, "host": host, "port": port}, **arguments)
        except Exception as error:
            log.info("database server passed over", host=host, port=port, error=type(error).__name__)
    return await asyncpg.connect(**{**where, "host": last[0], "port": last[1]}, **arguments)


def _is_pooled(settings: ServiceSettings) -> bool:
    return settings.database_pooler == "transaction"


def _connect_arguments(settings: ServiceSettings) -> dict[str, Any]:
    """All that asyncpg is told beside the address."""
    given = asyncpg_arguments(make_url(settings.database_url.get_secret_value()).query)
    pooled = _is_pooled(settings)
    return {
        "timeout": settings.database_connect_seconds,
        "target_session_attrs": "read-write",
        "command_timeout": settings.database_statement_seconds + _ANSWER_SECONDS_MORE,
        # asyncpg gives a statement a name, by which the server knows it again, only if it has a cache of its own.
        # Behind a transaction pooler each transaction has another server process, where a name is unknown or
        # somebody else's; there the statement's text goes along each time, in the same round trip.
        "statement_cache_size": 0 if pooled else _PREPARED_STATEMENTS,
        **given,
        "server_settings": {
            **given.get("server_settings", {}),
            "application_name": f"{SERVICE_APPLICATION_NAME}/{settings.release}",
            "timezone": "UTC",
            **({} if pooled else _session_limits(settings)),
        },
    }


def _note_use(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _ping_after_idling(
    dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Takes a new connection for one that the server has closed, or that has idled and does not answer any more.

    A server that ends closes its connections, and that is known without asking. SQLAlchemy's own pre-ping asks each
    time, which is three of the seven round trips of a short request; who else is gone, and that within a second of the
    last use, costs one request.
    """
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError("the server has closed the connection")
    used = record.info.get("used")
    if used is None or time.monotonic() - used < _IDLE_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except Exception as error:
        # What was connected before it is as lost.
        raise InvalidatePoolError from error


def _session_limits(settings: ServiceSettings) -> dict[str, str]:
    """How long the server lets a statement, a wait for a lock and a forgotten transaction of ours go on."""
    seconds = {
        "statement_timeout": settings.database_statement_seconds,
        "lock_timeout": settings.database_lock_seconds,
        "idle_in_transaction_session_timeout": settings.database_idle_transaction_seconds,
    }
    return {name: f"{round(limit * 1000)}ms" for name, limit in seconds.items()}


def _set_for_transaction(limits: Mapping[str, str], connection: Connection) -> None:
    """Behind a transaction pooler a session is somebody else's after the transaction, and so would its settings be."""
    connection.execute(select(*(func.set_config(name, value, True) for name, value in limits.items())))


def _address(settings: ServiceSettings) -> URL:
    """The address alone: what else libpq's parameters say goes as arguments."""
    url = make_url(settings.database_url.get_secret_value())
    where = {name: value for name, value in url.query.items() if name in ("host", "port")}
    return url.set(drivername="postgresql+asyncpg", query=where)


def _try_each_host(
    dialect: Dialect, _record: ConnectionPoolEntry, _arguments: list[Any], parameters: dict[str, Any]
) -> DBAPIConnection | None:
    """Gives each of several hosts its own time: asyncpg's limit is for all, and a silent host would use it up."""
    if not isinstance(parameters.get("host"), list):
        return None
    *first, last = zip(parameters["host"], parameters["port"], strict=True)
    for host, port in first:
        try:
            return dialect.connect(**{**parameters, "host": host, "port": port})
        except Exception as error:
            log.info("database server passed over", host=host, port=port, error=type(error).__name__)
    return dialect.connect(**{**parameters, "host": last[0], "port": last[1]})


def _leave_read_only_server(context: ExceptionContext) -> None:
    """What was connected before a failover may be connected to a server that only reads now: none of it is kept."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


class Database:
    """The engine and the one way to a transaction."""

    def __init__(
        self, settings: ServiceSettings, at_commit: Callable[[AsyncSession], Awaitable[None]] | None = None
    ) -> None:
        """`at_commit` is called before each commit and after it, whatever became of it; it raises nothing."""
        self.engine = create_engine(settings)
        self._at_commit = at_commit
        self.reads = create_reads(settings)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed as a whole when the block ends well.

        Raises OutcomeUnknownError when the answer to the commit does not come.
        """
        async with self._sessions() as session:
            yield session  # leaving by an error closes the session, which undoes its work
            if self._at_commit is not None:
                await self._at_commit(session)
            try:
                await session.commit()
            except Exception as error:
                if _is_unanswered(error):
                    raise OutcomeUnknownError("the connection was lost at the commit") from error
                raise
            finally:
                if self._at_commit is not None:
                    await self._at_commit(session)

    @property
    def pool(self) -> WatchedPool:
        pool = self.engine.pool
        assert isinstance(pool, WatchedPool)  # noqa: S101 - create_engine says so
        return pool

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection that only reads, and sees all of the database as of one moment."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def close(self) -> None:
        await self.reads.close()
        await self.engine.dispose()


def broken_constraint(error: IntegrityError) -> str:
    """The name of the constraint, or of the unique index, that the work would have broken."""
    return str(getattr(error.driver_exception, "constraint_name", None) or "")


def table_that_refers(error: IntegrityError) -> str:
    """The table whose rows still refer to what was to be removed. Raises the error if that is not what is wrong."""
    if _sqlstate(error) != _FOREIGN_KEY:
        raise error
    return str(getattr(error.driver_exception, "table_name", None) or "")


def is_passing(error: Exception) -> bool:
    """Whether the database is away or overloaded, so that the request may be sent again unchanged."""
    if isinstance(error, DBAPIError):
        code = _sqlstate(error)
        return (
            error.connection_invalidated
            or code.startswith(_PASSING)
            or (not code and isinstance(error, OperationalError | InterfaceError))
            # SQLAlchemy's own error for the second has no driver's error, except as its cause.
            or isinstance(getattr(error.orig, "__cause__", None), _PASSING_IN_THE_DRIVER)
        )
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_PASSING) or isinstance(error, _PASSING_IN_THE_DRIVER)
    lost = (asyncpg.InterfaceError, asyncpg.InternalClientError)
    return isinstance(error, (OutcomeUnknownError, PoolTimeoutError, OSError, TimeoutError, *lost))


def _is_unanswered(error: Exception) -> bool:
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _sqlstate(error).startswith(_CONNECTION_LOST)
    return isinstance(error, OSError | TimeoutError)


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
