from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.concurrency import etag
from inventory_api.fields import OrLeftOut, Output
from inventory_api.idempotency.service import Answer, answer_with


def _header(description: str) -> object:
    return Header(
        alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$", description=description
    )


IdempotencyKey = Annotated[
    str,
    _header("Chosen by the caller for one request; sent again with it, the request is not carried out twice"),
]
OptionalIdempotencyKey = Annotated[
    str | None,
    OrLeftOut(),
    _header("May be left out where the request, sent again, does nothing twice by itself"),
]


async def created(
    session: AsyncSession,
    user_id: int,
    operation: str,
    key: str | None,
    request: BaseModel,
    shape: type[Output],
    work: Callable[[], Awaitable[object]],
) -> JSONResponse:
    """201 with what `work` adds, in this shape; with a key it is added once, however often the request comes."""

    async def answer() -> Answer:
        return Answer(HTTPStatus.CREATED, shape.model_validate(await work()).model_dump(mode="json"))

    return response_of(await answer_with(session, user_id, operation, key, request, answer))


def response_of(answer: Answer) -> JSONResponse:
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
    if "version" in answer.body:
        headers["ETag"] = etag(answer.body["version"])
    return JSONResponse(answer.body, answer.status, headers)
