from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Response

from inventory_api.dependencies import Caller, Session
from inventory_api.fields import PathId
from inventory_api.labels import drawing, service
from inventory_api.labels.schemas import SheetQuery
from inventory_api.references import Kind

router = APIRouter(tags=["labels"])

_SVG_POLICY = "default-src 'none'; frame-ancestors 'none'"
_SVG = {"content": {"image/svg+xml": {"schema": {"type": "string"}}}, "description": "The label"}
_PAGE = {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "The sheet"}


@router.get("/items/{item_id}/label.svg", response_class=Response, responses={200: _SVG})
async def get_item_label(item_id: PathId, _caller: Caller, session: Session) -> Response:
    return await _drawn(session, "item", item_id)


@router.get("/units/{unit_id}/label.svg", response_class=Response, responses={200: _SVG})
async def get_unit_label(unit_id: PathId, _caller: Caller, session: Session) -> Response:
    return await _drawn(session, "unit", unit_id)


@router.get("/locations/{location_id}/label.svg", response_class=Response, responses={200: _SVG})
async def get_location_label(location_id: PathId, _caller: Caller, session: Session) -> Response:
    return await _drawn(session, "location", location_id)


@router.get("/labels", response_class=Response, responses={200: _PAGE})
async def get_labels(query: Annotated[SheetQuery, Query()], _caller: Caller, session: Session) -> Response:
    """A page to print, on A4."""
    labels = await service.of_sheet(session, query)
    # A hundred codes take some tenths of a second of a core, in which others are to be answered too.
    page, policy = await to_thread.run_sync(partial(drawing.sheet, labels, query.columns))
    return Response(page, media_type="text/html; charset=utf-8", headers=_headers(policy))


async def _drawn(session: Session, kind: Kind, identifier: int) -> Response:
    label = await service.label(session, kind, identifier)
    picture = await to_thread.run_sync(drawing.svg, label)
    return Response(picture, media_type="image/svg+xml; charset=utf-8", headers=_headers(_SVG_POLICY))


def _headers(policy: str) -> dict[str, str]:
    return {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
