"""The service's way to PostgreSQL: pool, limits, and what counts as 'the database is away'."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import MetaData
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from inventory_api.settings import SERVICE_APPLICATION_NAME, ServiceSettings

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
# SQLSTATEs after which the same request may succeed a moment later.
_PASSING = ("08", "53", "57", "40", "55P03")


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


def create_engine(settings: ServiceSettings) -> AsyncEngine:
    return create_async_engine(
        _asyncpg_url(settings.database_url.get_secret_value()),
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_overflow,
        pool_timeout=_POOL_WAIT_SECONDS,
        pool_recycle=_RECYCLE_SECONDS,
        pool_pre_ping=True,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "timeout": _CONNECT_SECONDS,
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


def _asyncpg_url(url: str) -> URL:
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    sslmode = parsed.query.get("sslmode")
    # The one libpq parameter that such URLs usually carry; asyncpg calls it otherwise.
    return parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": sslmode} if sslmode else {})


class Database:
    """The engine and the one way to a transaction."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.engine = create_engine(settings)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed as a whole when the block ends well."""
        async with self._sessions() as session, session.begin():
            yield session

    async def close(self) -> None:
        await self.engine.dispose()


def is_passing(error: Exception) -> bool:
    """Whether the database is away or overloaded, so that the request may be sent again unchanged."""
    if isinstance(error, DBAPIError):
        code = getattr(error.orig, "sqlstate", None) or ""
        return (
            error.connection_invalidated
            or code.startswith(_PASSING)
            or (not code and isinstance(error, OperationalError | InterfaceError))
        )
    return isinstance(error, PoolTimeoutError | OSError | TimeoutError)
