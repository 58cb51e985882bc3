from collections.abc import Sequence

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.users.models import Role, User

_FIRST_USER_LOCK = "first user"


async def get(session: AsyncSession, user_id: int) -> User | None:
    return await session.get(User, user_id)


async def by_email(session: AsyncSession, email: str) -> User | None:
    return await session.scalar(select(User).where(User.email == email))


async def after(session: AsyncSession, identifier: int, limit: int) -> Sequence[User]:
    return (await session.scalars(select(User).where(User.id > identifier).order_by(User.id).limit(limit))).all()


async def add(session: AsyncSession, *, email: str, name: str, role: Role, password_hash: str) -> User | None:
    """The new user, or None if the address is taken."""
    statement = (
        insert(User)
        .values(email=email, name=name, role=role, password_hash=password_hash)
        .on_conflict_do_nothing(index_elements=[User.email])
        .returning(User)
    )
    return (await session.scalars(statement)).one_or_none()


async def is_empty(session: AsyncSession) -> bool:
    """Whether there is no user; until the transaction ends, nobody else gets this answer."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(_FIRST_USER_LOCK, 0))))
    return not await session.scalar(select(exists().select_from(User)))
