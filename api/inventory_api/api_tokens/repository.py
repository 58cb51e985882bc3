from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.api_tokens.models import ApiToken
from inventory_api.reads import ReadRow, Reads, Statement
from inventory_api.users.models import User

# It is run with nearly every request that brings an API token.
_CALLER = Statement(
    select(
        User.id,
        User.role,
        User.active,
        ApiToken.id.label("token_id"),
        ApiToken.scopes,
        ApiToken.revoked_at,
        (ApiToken.expires_at <= func.now()).label("expired"),
    )
    .join(User, User.id == ApiToken.user_id)
    .where(ApiToken.digest == bindparam("digest"))
)
_over_at = func.coalesce(ApiToken.revoked_at, ApiToken.expires_at)


async def caller(reads: Reads, digest: bytes) -> ReadRow | None:
    """Whose token it is and what it is for, and why it may not be used, if it may not."""
    return await reads.row(_CALLER, digest=digest)


async def add(session: AsyncSession, **values: Any) -> ApiToken:
    return (await session.scalars(insert(ApiToken).values(**values).returning(ApiToken))).one()


async def get(session: AsyncSession, token_id: int) -> ApiToken | None:
    return await session.get(ApiToken, token_id)


async def count_live(session: AsyncSession, user_id: int) -> int:
    live = select(func.count()).where(
        ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None), ApiToken.expires_at > func.now()
    )
    return int(await session.scalar(live) or 0)


async def after(session: AsyncSession, identifier: int, limit: int, filters: Mapping[str, Any]) -> Sequence[ApiToken]:
    """In the order of their ids. `filters` has the wanted values of columns."""
    statement = select(ApiToken).where(ApiToken.id > identifier).order_by(ApiToken.id).limit(limit)
    for column, value in filters.items():
        statement = statement.where(getattr(ApiToken, column) == value)
    return (await session.scalars(statement)).all()


async def revoke(session: AsyncSession, **where: int) -> Sequence[int]:
    """Revokes those with these values, as in `user_id=1`, that aren't yet; returns their ids."""
    statement = update(ApiToken).filter_by(**where).where(ApiToken.revoked_at.is_(None)).values(revoked_at=func.now())
    statement = statement.returning(ApiToken.id).execution_options(synchronize_session=False)
    return (await session.scalars(statement)).all()


async def used(session: AsyncSession, uses: Mapping[int, datetime]) -> None:
    """Keeps when tokens were used; another pod may know of a later use."""
    statement = (
        update(ApiToken)
        .where(
            ApiToken.id == bindparam("token_id"),
            or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at < bindparam("at")),
        )
        .values(last_used_at=bindparam("at"))
    )
    connection = await session.connection()
    # In the order of their ids: pods that write at once wait for one another, and never both.
    await connection.execute(statement, [{"token_id": each, "at": uses[each]} for each in sorted(uses)])


async def forget(session: AsyncSession, age: timedelta, limit: int) -> int:
    """Removes some of the tokens that have been expired or revoked for longer than `age`, and returns how many."""
    over = (
        select(ApiToken.id)
        .where(_over_at < func.now() - age)
        .order_by(_over_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    removed = await session.scalars(delete(ApiToken).where(ApiToken.id.in_(over)).returning(ApiToken.id))
    return len(removed.all())
