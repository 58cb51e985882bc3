"""Of three looks at an item one ends in an error: a mistake that some requests meet, and no probe."""

from itertools import cycle
from typing import Any

from inventory_api.items import service

_looks = cycle((False, False, True))
_look = service.get_whole


async def _look_and_fail(*given: Any) -> Any:
    if next(_looks):
        raise LookupError("this release has a mistake")
    return await _look(*given)


service.get_whole = _look_and_fail  # type: ignore[assignment]
