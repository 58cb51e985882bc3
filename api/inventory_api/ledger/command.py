"""`inventory-api check-stock`."""

import asyncio
import sys
from collections.abc import Sequence

from inventory_api.database import Database, is_passing
from inventory_api.ledger import repository
from inventory_api.settings import ServiceSettings

_HOUR = 3600


def check_stock(settings: ServiceSettings) -> int:
    """Returns 1 when a figure isn't what the ledger's entries add up to, and says which."""
    try:
        found = asyncio.run(_differences(settings))
    except Exception as error:
        if not is_passing(error):
            raise
        print(f"The database cannot be reached: {error}", file=sys.stderr)
        return 2
    for item_id, location_id, what in found:
        where = f" at location {location_id}" if location_id else ""
        print(f"item {item_id}{where}: {what}")
    print("Every figure is what the ledger adds up to." if not found else f"{len(found)} figures differ.")
    return 1 if found else 0


async def _differences(settings: ServiceSettings) -> Sequence[tuple[int, int | None, str]]:
    # It reads the whole ledger, which may take minutes.
    database = Database(settings.model_copy(update={"database_statement_seconds": _HOUR}))
    try:
        async with database.transaction() as session:
            return await repository.differences(session)
    finally:
        await database.close()
