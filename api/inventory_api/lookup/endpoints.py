from typing import Annotated

from fastapi import APIRouter, Query

from inventory_api.dependencies import Reading
from inventory_api.lookup import service
from inventory_api.lookup.schemas import LookupQuery, LookupResult

router = APIRouter(prefix="/lookup", tags=["items"])


@router.get("")
async def look_up_code(query: Annotated[LookupQuery, Query()], reads: Reading) -> LookupResult:
    """The items, units and locations that a code leads to: usually one, and 404 where it leads nowhere."""
    return LookupResult.model_validate({"found": await service.by_code(reads, query.code)})
