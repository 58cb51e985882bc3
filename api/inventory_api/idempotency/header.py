from typing import Annotated

from fastapi import Header
from fastapi.responses import JSONResponse

from inventory_api.idempotency.service import Answer


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
    _header("May be left out where the request, sent again, does nothing twice by itself"),
]


def response_of(answer: Answer) -> JSONResponse:
    return JSONResponse(answer.body, answer.status, {"Idempotency-Replayed": "true"} if answer.replayed else None)
