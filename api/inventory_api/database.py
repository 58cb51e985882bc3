"""The service's way to PostgreSQL: pool, limits, and what counts as 'the database is away'."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from asyncpg.exceptions import TargetServerAttributeNotMatched
from sqlalchemy import MetaData, event
from sqlalchemy.engine import URL, Dialect, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

from inventory_api.pool import WatchedPool
from inventory_api.settings import SERVICE_APPLICATION_NAME, ServiceSettings

log = structlog.get_logger()

_CONNECT_SECONDS = 5
_POOL_WAIT_SECONDS = 5
_RECYCLE_SECONDS = 1800
# The server ends a statement first; the client's limit is for a server that does not answer at all.
_STATEMENT_SECONDS = 10
_ANSWER_SECONDS = 12
_LOCK_SECONDS = 5
_IDLE_TRANSACTION_SECONDS = 15
# asyncpg keeps prepared statements per connection; the service has a few dozen different ones.
_PREPARED_STATEMENTS = 100
_READ_ONLY = "25006"
# SQLSTATEs after which the same request may succeed a moment later.
_PASSING = ("08", "53", "57", "40", "55P03", _READ_ONLY)
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
        _asyncpg_url(settings.database_url.get_secret_value()),
        poolclass=WatchedPool,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_overflow,
        pool_timeout=_POOL_WAIT_SECONDS,
        pool_recycle=_RECYCLE_SECONDS,
        pool_pre_ping=True,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "timeout": _CONNECT_SECONDS,
            "target_session_attrs": "read-write",
            "command_timeout": _ANSWER_SECONDS,
            "prepared_statement_cache_size": _PREPARED_STATEMENTS,
            "statement_cache_size": 0,
            "server_settings": {
                "application_name": f"{SERVICE_APPLICATION_NAME}/{settings.release}",
                "statement_timeout": f"{_STATEMENT_SECONDS}s",
                "lock_timeout": f"{_LOCK_SECONDS}s",
                "idle_in_transaction_session_timeout": f"{_IDLE_TRANSACTION_SECONDS}s",
                "timezone": "UTC",
            },
        },
    )
    event.listen(engine.sync_engine, "do_connect", _try_each_host)
    event.listen(engine.sync_engine, "handle_error", _leave_read_only_server)
    return engine


def _asyncpg_url(url: str) -> URL:
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    sslmode = parsed.query.get("sslmode")
    # The one libpq parameter that such URLs usually carry; asyncpg calls it otherwise.
    return parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": sslmode} if sslmode else {})


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

    def __init__(self, settings: ServiceSettings) -> None:
        self.engine = create_engine(settings)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed as a whole when the block ends well.

        Raises OutcomeUnknownError when the answer to the commit does not come.
        """
        async with self._sessions() as session:
            yield session  # leaving by an error closes the session, which undoes its work
            try:
                await session.commit()
            except Exception as error:
                if _is_unanswered(error):
                    raise OutcomeUnknownError("the connection was lost at the commit") from error
                raise

    @property
    def pool(self) -> WatchedPool:
        pool = self.engine.pool
        assert isinstance(pool, WatchedPool)  # noqa: S101 - create_engine says so
        return pool

    async def close(self) -> None:
        await self.engine.dispose()


def is_passing(error: Exception) -> bool:
    """Whether the database is away or overloaded, so that the request may be sent again unchanged."""
    if isinstance(error, DBAPIError):
        code = _sqlstate(error)
        return (
            error.connection_invalidated
            or code.startswith(_PASSING)
            or (not code and isinstance(error, OperationalError | InterfaceError))
            or isinstance(error.driver_exception, TargetServerAttributeNotMatched)
        )
    return isinstance(error, OutcomeUnknownError | PoolTimeoutError | OSError | TimeoutError)


def _is_unanswered(error: Exception) -> bool:
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _sqlstate(error).startswith(_CONNECTION_LOST)
    return isinstance(error, OSError | TimeoutError)


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
