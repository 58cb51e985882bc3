from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.reads import ReadRow, Reads, Statement
from inventory_api.users.models import Role, User

_FIRST_USER_LOCK = "first user"
_ADMINS_LOCK = "admins"
_CALLER = Statement(
    select(User.id, User.role).where(
        User.id == bindparam("user_id"),
        User.active,
        or_(User.signed_out_at.is_(None), User.signed_out_at <= bindparam("issued_at")),
    )
)
_CREDENTIALS = Statement(select(User.email, User.password_hash).where(User.id == bindparam("user_id")))


async def get(session: AsyncSession, user_id: int) -> User | None:
    return await session.get(User, user_id)


async def caller(reads: Reads, user_id: int, issued_at: datetime) -> ReadRow | None:
    """Id and role of who has an access token of a release that knew no sessions, if they may still call."""
    return await reads.row(_CALLER, user_id=user_id, issued_at=issued_at)


async def credentials(reads: Reads, user_id: int) -> ReadRow | None:
    """Address and password hash; no connection is held for what is done with them."""
    return await reads.row(_CREDENTIALS, user_id=user_id)


async def by_email(session: AsyncSession, email: str) -> User | None:
    return await session.scalar(select(User).where(User.email == email))


async def after(
    session: AsyncSession, identifier: int, limit: int, filters: Mapping[str, Any], words: str | None
) -> Sequence[User]:
    """In the order of their ids. `filters` has the wanted values of columns; `words` are in the name or the address."""
    statement = select(User).where(User.id > identifier).order_by(User.id).limit(limit)
    for column, value in filters.items():
        statement = statement.where(getattr(User, column) == value)
    if words is not None:
        statement = statement.where(
            or_(User.name.icontains(words, autoescape=True), User.email.icontains(words, autoescape=True))
        )
    return (await session.scalars(statement)).all()


async def add(session: AsyncSession, *, email: str, name: str, role: Role, password_hash: str) -> User | None:
    """The new user, or None if the address is taken."""
    statement = (
        insert(User)
        .values(email=email, name=name, role=role, password_hash=password_hash)
        .on_conflict_do_nothing(index_elements=[User.email])
        .returning(User)
    )
    return (await session.scalars(statement)).one_or_none()


async def lock(session: AsyncSession, user_id: int) -> User | None:
    """The user as they are now, whom nobody else changes until the transaction ends."""
    return await session.get(User, user_id, populate_existing=True, with_for_update={"key_share": True})


async def change(session: AsyncSession, user_id: int, values: Mapping[str, Any]) -> User:
    """The user after the change. Raises IntegrityError where the address is taken."""
    statement = (
        update(User)
        .where(User.id == user_id)
        .values(**values, version=User.version + 1, updated_at=func.now())
        .returning(User)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    return (await session.scalars(statement)).one()


async def set_password(session: AsyncSession, user_id: int, password_hash: str) -> None:
    statement = update(User).where(User.id == user_id).values(password_hash=password_hash)
    await session.execute(statement.execution_options(synchronize_session=False))


async def hold_admins(session: AsyncSession) -> None:
    """Until the transaction ends, nobody else makes or unmakes an admin. To be called before a user is locked."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(_ADMINS_LOCK, 0))))


async def is_other_admin(session: AsyncSession, user_id: int) -> bool:
    """Whether there is an active admin besides this user."""
    others = select(User.id).where(User.role == Role.ADMIN, User.active, User.id != user_id)
    return bool(await session.scalar(select(others.exists())))


async def is_empty(session: AsyncSession) -> bool:
    """Whether there is no user; until the transaction ends, nobody else gets this answer."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(_FIRST_USER_LOCK, 0))))
    return not await session.scalar(select(exists().select_from(User)))
