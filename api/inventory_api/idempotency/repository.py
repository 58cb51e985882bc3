import json
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.idempotency.models import StoredResponse
from inventory_api.reads import ReadRow, Statement, rows_within

# Made once: a check-out has little else to do.
_RESERVE = Statement(
    select(func.pg_try_advisory_xact_lock(func.hashtextextended(bindparam("name"), 0)).label("is_reserved"))
)
_GET = Statement(
    select(StoredResponse.fingerprint, StoredResponse.status, StoredResponse.body).where(
        StoredResponse.user_id == bindparam("user_id"),
        StoredResponse.operation == bindparam("operation"),
        StoredResponse.key == bindparam("key"),
    )
)
_COLUMNS = ("user_id", "operation", "key", "fingerprint", "status", "body")
_ADD = Statement(
    insert(StoredResponse).values({name: bindparam(name) for name in _COLUMNS}).returning(StoredResponse.status)
)


async def reserve(session: AsyncSession, user_id: int, operation: str, key: str) -> bool:
    """Holds the key until the transaction ends; False if another request holds it now."""
    (row,) = await rows_within(session, _RESERVE, name=f"idempotency:{user_id}:{operation}:{key}")
    return bool(row["is_reserved"])


async def get(session: AsyncSession, user_id: int, operation: str, key: str) -> ReadRow | None:
    """Fingerprint, status and body of what is kept, if anything is. The key is reserved."""
    found = await rows_within(session, _GET, user_id=user_id, operation=operation, key=key)
    return found[0] if found else None


async def add(session: AsyncSession, *, body: Any, **values: Any) -> None:
    await rows_within(session, _ADD, body=json.dumps(body), **values)


async def forget(session: AsyncSession, age: timedelta) -> None:
    await session.execute(delete(StoredResponse).where(StoredResponse.created_at < func.now() - age))
