"""What the cluster asks: whether the process lives, whether it may serve, and its figures."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import JSONResponse

from inventory_api.dependencies import Shared

router = APIRouter(include_in_schema=False)


@router.get("/livez")
async def livez() -> JSONResponse:
    """Asks nothing of anybody: a restart cures neither the database nor Redis."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz")
async def readyz(shared: Shared) -> JSONResponse:
    readiness = shared.readiness
    if readiness.ready:
        return JSONResponse({"status": "ready"})
    found = {"status": "unready", "reasons": list(readiness.reasons), "waiting": readiness.waiting}
    return JSONResponse(found, 503)


@router.get("/metrics")
async def metrics(shared: Shared, accept: Annotated[str, Header()] = "") -> Response:
    shared.metrics.ready.set(shared.readiness.ready)
    figures, media_type = shared.metrics.exposition(accept)
    return Response(figures, media_type=media_type)
