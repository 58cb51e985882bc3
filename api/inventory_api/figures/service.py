"""What Prometheus is told of items and loans: looked up in the background, never because somebody asks."""

import asyncio

import structlog

from inventory_api.database import Database
from inventory_api.figures import repository
from inventory_api.metrics import Figures, Metrics

log = structlog.get_logger()

_INTERVAL_SECONDS = 60
_STATEMENT_SECONDS = 2


async def keep_current(database: Database, metrics: Metrics) -> None:
    """Never returns; figures that cannot be taken stay as they are, and their time tells."""
    while True:
        try:
            metrics.show_figures(await take(database))
        except Exception as error:
            log.warning("the figures of items and loans stay until the next round", error=type(error).__name__)
        await asyncio.sleep(_INTERVAL_SECONDS)


async def take(database: Database) -> Figures:
    async with database.transaction() as session:
        await repository.limit_time(session, _STATEMENT_SECONDS)
        return Figures(
            items=await repository.items(session),
            open_loans=await repository.open_loans(session),
            overdue_loans=await repository.overdue_loans(session),
            low_stock_items=await repository.low_stock_items(session),
        )
