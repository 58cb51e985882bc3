"""Each look at an item takes much longer, as with a query that has lost its index; the answer is right."""

import asyncio
from typing import Any

from inventory_api.items import service

SECONDS = 1.3

_look = service.get_whole


async def _look_slowly(*given: Any) -> Any:
    await asyncio.sleep(SECONDS)
    return await _look(*given)


service.get_whole = _look_slowly  # type: ignore[assignment]
