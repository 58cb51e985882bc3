import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Send

from inventory_api.dependencies import Caller, Serving, Session, Shared
from inventory_api.idempotency.header import OptionalIdempotencyKey, response_of
from inventory_api.idempotency.service import Answer, answer_once
from inventory_api.problems import Problem
from inventory_api.resources import Resources
from inventory_api.settings import ServiceSettings
from inventory_api.transfer import service
from inventory_api.transfer.formats import Limits
from inventory_api.transfer.schemas import ExportQuery, Format, ImportQuery, ImportReport, ImportRequest
from inventory_api.transfer.spool import Spool, TooLargeError

router = APIRouter(tags=["import and export"])

_MEDIA_TYPES = {Format.CSV: "text/csv; charset=utf-8", Format.JSONL: "application/x-ndjson"}
_FILE = {"text/csv": {"schema": {"type": "string"}}, "application/x-ndjson": {"schema": {"type": "string"}}}
# Of the time after which the request is ended from outside, when nobody knows any more what was kept; and of that after
# which the database ends a transaction that lies idle while a caller doesn't read.
_SOON_ENOUGH = 0.9


@router.post(
    "/import", response_model=ImportReport, openapi_extra={"requestBody": {"required": True, "content": _FILE}}
)
async def import_file(
    query: Annotated[ImportQuery, Query()],
    request: Request,
    caller: Caller,
    session: Session,
    shared: Shared,
    key: OptionalIdempotencyKey = None,
) -> Response:
    """All of a file or, if any line of it is wrong, nothing. Needs an Idempotency-Key, except for a dry run."""
    service.demand_import(caller, query.kind)
    if key is None and not query.dry_run:
        detail = "An import needs an Idempotency-Key: sent again without one, stock might be received twice."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-needed", detail)
    settings = shared.settings
    with shared.transfers.imports.taken():

        async def work() -> Answer:
            limits = Limits(settings.import_max_lines, settings.import_max_line_bytes)
            report = await service.bring_in(session, shared.passwords, caller, query, spool, limits)
            return Answer(200, report.model_dump(mode="json", exclude_none=True))

        async with _in_time(settings.import_seconds * _SOON_ENOUGH):
            # The session takes a connection with its first statement: until then the body may come however slowly.
            spool = await _received(request, settings)
            # A dry run does nothing, so it uses up no key: the import proper may come with the same one.
            if key is None or query.dry_run:
                return response_of(await work())
            given = ImportRequest(**query.model_dump(exclude_unset=True), digest=spool.digest)
            return response_of(await answer_once(session, caller.id, "import", key, given, work))


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": _FILE, "description": "The file, which may be of any size"}},
)
async def export_file(query: Annotated[ExportQuery, Query()], caller: Caller, shared: Serving) -> Response:
    """All of a kind as of one moment. If it breaks off, the chunked body lacks its end."""
    wanted = service.filters(caller, query)
    return _Export(_chunks(shared, query, wanted), query, shared.settings.database_idle_transaction_seconds)


class _Export(StreamingResponse):
    def __init__(self, chunks: AsyncGenerator[bytes], query: ExportQuery, idle_seconds: float) -> None:
        name = f"{query.kind}.{query.format}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(chunks, headers=headers, media_type=_MEDIA_TYPES[query.format])
        self._chunks = chunks
        self._patience = idle_seconds * _SOON_ENOUGH

    async def stream_response(self, send: Send) -> None:
        """Whatever goes wrong before the first line is a problem as anywhere; later it ends the connection."""
        async with aclosing(self._chunks) as chunks:
            first = await anext(chunks, b"")
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send_part(send, first)
            async for chunk in chunks:
                await self._send_part(send, chunk)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_part(self, send: Send, part: bytes) -> None:
        async with asyncio.timeout(self._patience):
            await send({"type": "http.response.body", "body": part, "more_body": True})


async def _chunks(shared: Resources, query: ExportQuery, wanted: dict[str, Any]) -> AsyncGenerator[bytes]:
    with shared.transfers.exports.taken():
        async with shared.database.snapshot() as connection:
            async for chunk in service.take_out(connection, query.kind, query.format, wanted):
                yield chunk


async def _received(request: Request, settings: ServiceSettings) -> Spool:
    spool = Spool(settings.import_max_bytes)
    try:
        async for chunk in request.stream():
            spool.add(chunk)
    except TooLargeError:
        detail = f"A file may have {settings.import_max_bytes} bytes at most."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request-entity-too-large", detail) from None
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "bad-request", "The body did not come to its end.") from None
    spool.end()
    return spool


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    """Raises a 422 Problem when the block takes longer."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        detail = f"The file took more than {seconds:g} s to come and be imported. Nothing was kept; send it in parts."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "import-too-long", detail) from None
