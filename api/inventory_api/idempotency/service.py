import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.idempotency import repository
from inventory_api.problems import RETRY_AFTER, Problem, conflict


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    replayed: bool = False


async def answer_once(
    session: AsyncSession,
    user_id: int,
    operation: str,
    key: str,
    request: BaseModel,
    work: Callable[[], Awaitable[Answer]],
) -> Answer:
    """The answer of `work`, which is done once for each key, however often the request comes.

    Only the answer to work that was done is kept, in the transaction that did it: a refusal or a failure leaves
    nothing behind, and the same key may be tried again. Raises a 409 Problem while another request with this key is
    being worked on, and a 422 Problem when the key came before with another body.
    """
    fingerprint = _fingerprint(request)
    if not await repository.reserve(session, user_id, operation, key):
        raise conflict("in-flight", "A request with this Idempotency-Key is being worked on.", RETRY_AFTER)
    stored = await repository.get(session, user_id, operation, key)
    if stored is None:
        answer = await work()
        await repository.add(
            session,
            user_id=user_id,
            operation=operation,
            key=key,
            fingerprint=fingerprint,
            status=answer.status,
            body=answer.body,
        )
        return answer
    if stored["fingerprint"] != fingerprint:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "This Idempotency-Key came with another request before.",
        )
    return Answer(stored["status"], stored["body"], replayed=True)


async def answer_with(
    session: AsyncSession,
    user_id: int,
    operation: str,
    key: str | None,
    request: BaseModel,
    work: Callable[[], Awaitable[Answer]],
) -> Answer:
    """The same where the key may be left out: without one, `work` is done each time."""
    return await work() if key is None else await answer_once(session, user_id, operation, key, request, work)


def _fingerprint(request: BaseModel) -> bytes:
    """The same for a request that is sent again, whichever release it meets.

    It is of the fields that the caller set, sorted: a release may add an optional field, change a default or the order
    of its fields, and must still know the request again. The values are as validated, so that the same moment written
    with another offset is no other request.
    """
    given = request.model_dump(mode="json", exclude_unset=True)
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).digest()
