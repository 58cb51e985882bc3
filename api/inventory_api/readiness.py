"""Whether this release runs on the schema that the database has, asked at the start until it does."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.database import Database, is_passing
from inventory_api.migrations.history import applied_revisions, database_schema, schema_history, select_applied
from inventory_api.migrations.rule import DatabaseSchema, ImageSchema, objections

log = structlog.get_logger()

_POLL_SECONDS = 1.0


class Readiness:
    """Turns ready once and stays so: a database that goes away later must not empty the Service of its pods."""

    def __init__(
        self, image: ImageSchema, database: Database, ensure_first_admin: Callable[[AsyncSession], Awaitable[None]]
    ) -> None:
        self.image = image
        self._database = database
        self._ensure_first_admin = ensure_first_admin
        self.ready = False
        self.reasons: tuple[str, ...] = ("The schema has not been looked at yet.",)
        self.waiting = False
        """It is the database's absence alone that keeps it from being ready; a release then waits rather than fails."""

    async def await_schema(self) -> None:
        """Returns when the rule holds and there is a first admin, if there is to be one; both are tried until then."""
        while not self.ready:
            reasons = await self._look()
            if not reasons:
                self.ready, self.reasons = True, ()
                log.info("ready", expand=self.image.expand, contract=self.image.contract)
                return
            if reasons != self.reasons:
                log.warning("not ready", reasons=reasons)
                self.reasons = reasons
            await asyncio.sleep(_POLL_SECONDS)

    async def _look(self) -> tuple[str, ...]:
        failure = "The database's schema cannot be read"
        try:
            async with self._database.transaction() as session:
                reasons = objections(self.image, await read_schema(session))
                if not reasons:
                    failure = "The first admin cannot be created"
                    await self._ensure_first_admin(session)
            self.waiting = False
            return reasons
        except Exception as error:  # whatever it is, a living pod that says why is worth more than a dead one
            log.debug("not ready because of an error", exc_info=True)
            self.waiting = is_passing(error)
            return (f"{failure}: {_first_line(error)}",)


async def read_schema(session: AsyncSession) -> DatabaseSchema:
    if await session.scalar(select(func.to_regclass(schema_history.name))) is None:
        return DatabaseSchema((), ())
    return database_schema(applied_revisions((await session.execute(select_applied())).all()))


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().split("\n", 1)[0] or type(cause).__name__
