"""When API tokens were used last: to the minute, and never in the transaction of the request that uses one."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from inventory_api.api_tokens import repository
from inventory_api.api_tokens.models import ApiToken
from inventory_api.backlog import Backlog
from inventory_api.database import Database
from inventory_api.metrics import Metrics

_TABLE = ApiToken.__tablename__
_KNOWN_SECONDS = 60
# More tokens than that within a minute: some are written down more often.
_KNOWN_AT_MOST = 10_000


class ApiTokenUses:
    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._known: dict[int, float] = {}
        self._backlog: Backlog[tuple[int, datetime]] = Backlog(
            _TABLE, self._write, partial(metrics.rows_lost, _TABLE), _KNOWN_AT_MOST
        )
        self.start = self._backlog.start
        self.close = self._backlog.close

    def note(self, token_id: int) -> None:
        now = time.monotonic()
        if now - self._known.get(token_id, -_KNOWN_SECONDS) < _KNOWN_SECONDS:
            return
        if len(self._known) >= _KNOWN_AT_MOST:
            self._known.clear()
        self._known[token_id] = now
        self._backlog.add((token_id, datetime.now(UTC)))

    async def _write(self, uses: Sequence[tuple[int, datetime]]) -> None:
        async with self._database.transaction() as session:
            await repository.used(session, dict(uses))
