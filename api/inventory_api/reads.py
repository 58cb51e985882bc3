"""The short way to the database: one statement that only reads, without a session, a transaction or an object a row.

What most requests do is to read a few rows and show them. SQLAlchemy writes these statements, once for each process;
asyncpg runs them, which takes a tenth of the time that a session takes. Whatever writes, or reads more than once and
must see one state, uses `Database.transaction()`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
from pydantic_core import from_json
from sqlalchemy import JSON, SelectBase, TextClause
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

ReadRow = dict[str, Any]
_CONNECTION = "asyncpg connection"
_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]


class Statement:
    """A statement as asyncpg takes it. What it has as `bindparam` is given by name with each use."""

    def __init__(self, statement: SelectBase | ReturningInsert[Any] | TextClause) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        columns: Any = getattr(statement, "exported_columns", ())
        self.documents = tuple(column.name for column in columns if isinstance(getattr(column, "type", None), JSON))
        """The columns that asyncpg gives as JSON's text."""
        self._parameters: Sequence[str] = getattr(compiled, "positiontup", None) or ()
        self._constants = dict(compiled.params)

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        return [values[name] if name in values else self._constants[name] for name in self._parameters]


async def rows_within(session: AsyncSession, statement: Statement, **values: Any) -> list[ReadRow]:
    """The rows of a statement that is run in the session's transaction, past the session: it may also write.

    Documents are given as text. Raises asyncpg's errors, but SQLAlchemy's for the first statement of a transaction.
    """
    arguments = statement.arguments(values)
    connection: Any = session.info.get(_CONNECTION)
    if connection is not None:
        return [dict(row) for row in await connection.fetch(statement.sql, *arguments)]
    # The transaction begins with the first statement that SQLAlchemy runs.
    begun = await session.connection()
    found = await begun.exec_driver_sql(statement.sql, tuple(arguments))
    connection = (await begun.get_raw_connection()).driver_connection
    assert connection is not None and connection.is_in_transaction()  # noqa: S101, PT018 - else it is kept by itself
    session.info[_CONNECTION] = connection
    return [dict(row) for row in found.mappings()]


class Reads:
    """A pool of connections for single statements.

    asyncpg's own pool makes a task of each release and resets the session after it, which is more work than the
    statement; after one that only reads there is nothing to reset.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        *,
        size: int,
        wait_seconds: float,
        recycle_seconds: float,
        in_transaction_after: str | None = None,
    ) -> None:
        """`in_transaction_after`: behind a transaction pooler, what to run first in the transaction of a statement.

        Else there is no transaction.
        """
        self._connect = connect
        self._places = asyncio.Semaphore(size)
        self._wait_seconds = wait_seconds
        self._recycle_seconds = recycle_seconds
        self._in_transaction_after = in_transaction_after
        self._free: list[tuple[Any, float]] = []
        """Open connections, and when each is too old; the one that was used last is the next."""

    async def rows(self, statement: Statement, **values: Any) -> list[ReadRow]:
        """Raises TimeoutError when no connection comes free in time, OSError, and asyncpg's errors."""
        arguments = statement.arguments(values)
        if self._places.locked():
            async with asyncio.timeout(self._wait_seconds):
                await self._places.acquire()
        else:
            await self._places.acquire()
        try:
            found = await self._fetch(statement.sql, arguments)
        finally:
            self._places.release()
        rows = [dict(row) for row in found]
        for column in statement.documents:
            for row in rows:
                row[column] = row[column] and from_json(row[column])
        return rows

    async def row(self, statement: Statement, **values: Any) -> ReadRow | None:
        """The first row, or None."""
        found = await self.rows(statement, **values)
        return found[0] if found else None

    async def close(self) -> None:
        while self._free:
            await self._free.pop()[0].close()

    async def _fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        while True:
            kept = self._take()
            connection, too_old = kept or (await self._connect(), time.monotonic() + self._recycle_seconds)
            try:
                found = await self._run(connection, sql, arguments)
            except asyncpg.PostgresError:
                if not connection.is_closed():
                    self._free.append((connection, too_old))
                    raise
                if not kept:
                    raise
                continue  # it was lost, perhaps long ago, and a statement that only reads may be run again
            except (asyncpg.InterfaceError, asyncpg.InternalClientError, ConnectionError):
                # The second is how asyncpg takes a connection that the server has ended while nobody used it.
                connection.terminate()
                if not kept:
                    raise
                continue
            except BaseException:
                # Cancelled or timed out, it may still be at work for the one who has gone.
                connection.terminate()
                raise
            self._free.append((connection, too_old))
            return found

    async def _run(self, connection: Any, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        if self._in_transaction_after is None:
            found: Sequence[Any] = await connection.fetch(sql, *arguments)
            return found
        async with connection.transaction(readonly=True):
            await connection.execute(self._in_transaction_after)
            found = await connection.fetch(sql, *arguments)
            return found

    def _take(self) -> tuple[Any, float] | None:
        while self._free:
            connection, too_old = self._free.pop()
            if connection.is_closed():
                continue
            if time.monotonic() < too_old:
                return connection, too_old
            connection.terminate()
        return None
