from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.idempotency.models import StoredResponse


async def reserve(session: AsyncSession, user_id: int, operation: str, key: str) -> bool:
    """Holds the key until the transaction ends; False if another request holds it now."""
    name = f"idempotency:{user_id}:{operation}:{key}"
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0)))))


async def get(session: AsyncSession, user_id: int, operation: str, key: str) -> StoredResponse | None:
    return await session.get(StoredResponse, (user_id, operation, key))


async def add(
    session: AsyncSession, *, user_id: int, operation: str, key: str, fingerprint: bytes, status: int, body: Any
) -> None:
    await session.execute(
        insert(StoredResponse).values(
            user_id=user_id, operation=operation, key=key, fingerprint=fingerprint, status=status, body=body
        )
    )


async def forget(session: AsyncSession, age: timedelta) -> None:
    await session.execute(delete(StoredResponse).where(StoredResponse.created_at < func.now() - age))
