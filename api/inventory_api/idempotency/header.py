from typing import Annotated

from fastapi import Header
from fastapi.responses import JSONResponse

from inventory_api.idempotency.service import Answer

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Chosen by the caller for one check-out; sent again with it, the check-out is not done twice",
    ),
]


def response_of(answer: Answer) -> JSONResponse:
    return JSONResponse(answer.body, answer.status, {"Idempotency-Replayed": "true"} if answer.replayed else None)
