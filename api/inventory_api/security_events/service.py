from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.backlog import Backlog
from inventory_api.database import Database
from inventory_api.metrics import Metrics
from inventory_api.security import SecurityEvent
from inventory_api.security_events import repository
from inventory_api.security_events.models import SecurityEventRow
from inventory_api.security_events.schemas import SecurityEventQuery
from inventory_api.users.permissions import Permission, Principal, demand

log = structlog.get_logger()

_TABLE = SecurityEventRow.__tablename__
# A row is about half a kilobyte.
_WAITING_AT_MOST = 2000


class SecurityEvents:
    """Counts and logs what security wants to see at once, and writes it down a moment later.

    Not in the request's transaction: that of a refused one is undone.
    """

    def __init__(self, database: Database, metrics: Metrics, limit: int = _WAITING_AT_MOST) -> None:
        self._database = database
        self._metrics = metrics
        self._backlog: Backlog[Mapping[str, Any]] = Backlog(
            _TABLE, self._write, partial(metrics.rows_lost, _TABLE), limit
        )
        self.start = self._backlog.start
        self.close = self._backlog.close

    def report(self, event: SecurityEvent, request_id: str, address: str) -> None:
        self._metrics.security_event(event.kind)
        log.warning("security event", kind=event.kind, user=event.user_id, address=address, detail=event.detail)
        self._backlog.add(
            {
                "at": datetime.now(UTC),
                "kind": event.kind,
                "user_id": event.user_id,
                "request_id": request_id,
                "address": address,
                "detail": event.detail,
            }
        )

    async def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        async with self._database.transaction() as session:
            await repository.add(session, rows)


async def page(session: AsyncSession, caller: Principal, query: SecurityEventQuery) -> Sequence[SecurityEventRow]:
    """The newest first."""
    demand(caller, Permission.SEE_AUDIT)
    filters = query.model_dump(include={"kind", "user_id"}, exclude_none=True)
    return await repository.before(session, query.after or None, query.limit + 1, filters, query.since, query.until)
