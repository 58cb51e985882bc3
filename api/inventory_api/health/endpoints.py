from fastapi import APIRouter, Response

from inventory_api.dependencies import Caller, Shared
from inventory_api.health import service
from inventory_api.health.schemas import Health
from inventory_api.problems import RETRY_AFTER

router = APIRouter(prefix="/health", tags=["service"])


@router.get("", responses={503: {"model": Health, "description": "The database is away"}})
async def get_health(caller: Caller, shared: Shared, response: Response) -> Health:
    health = await service.check(shared, caller)
    if health.database.status == "away":
        response.status_code = 503
        response.headers.update(RETRY_AFTER)
    return health
