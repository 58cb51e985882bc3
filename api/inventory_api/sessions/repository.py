from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, Update, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.reads import ReadRow, Reads, Statement
from inventory_api.sessions.models import RefreshToken, UserSession
from inventory_api.users.models import User

# It is run with nearly every request.
_CALLER = Statement(
    select(User.id, User.role)
    .join(UserSession, UserSession.user_id == User.id)
    .where(
        UserSession.id == bindparam("session_id"),
        User.id == bindparam("user_id"),
        User.active,
        UserSession.ended_at.is_(None),
        UserSession.expires_at > func.now(),
    )
)
_over_at = func.coalesce(UserSession.ended_at, UserSession.expires_at)


@dataclass(frozen=True, slots=True)
class Held:
    """A session that nobody else changes until the transaction ends, and the refresh token that led to it."""

    session: UserSession
    token: RefreshToken
    active: bool
    now: datetime


async def caller(reads: Reads, user_id: int, session_id: int) -> ReadRow | None:
    """Id and role of who signed in to the session, if they may still call."""
    return await reads.row(_CALLER, user_id=user_id, session_id=session_id)


async def begin(
    session: AsyncSession, user_id: int, password_hash: str, device: str, age: timedelta
) -> UserSession | None:
    """The new session, or None if the user isn't active or has another password meanwhile.

    Whoever changes either changes the user's row first and then ends the sessions: so none is left over.
    """
    statement = (
        select(User.id)
        .where(User.id == user_id, User.active, User.password_hash == password_hash)
        .with_for_update(read=True)
    )
    if await session.scalar(statement) is None:
        return None
    values = {"user_id": user_id, "device": device, "expires_at": func.now() + age}
    return (await session.scalars(insert(UserSession).values(values).returning(UserSession))).one()


async def add_token(session: AsyncSession, session_id: int, digest: bytes, expires_at: datetime) -> None:
    values = {"digest": digest, "session_id": session_id, "expires_at": expires_at}
    await session.execute(insert(RefreshToken).values(values))


async def hold(session: AsyncSession, digest: bytes) -> Held | None:
    """By the digest of one of its refresh tokens; None if there is no such token."""
    session_id = await session.scalar(select(RefreshToken.session_id).where(RefreshToken.digest == digest))
    if session_id is None:
        return None
    statement = (
        select(UserSession, User.active, func.now())
        .join(User, User.id == UserSession.user_id)
        .where(UserSession.id == session_id)
        .with_for_update(of=UserSession)
    )
    found = (await session.execute(statement)).one_or_none()
    # Read under the session's lock: another request with the same token may just have rotated it.
    token = await session.get(RefreshToken, digest)
    return Held(found[0], token, found[1], found[2]) if found and token else None


async def token(session: AsyncSession, digest: bytes) -> RefreshToken | None:
    return await session.get(RefreshToken, digest)


async def rotate(session: AsyncSession, held: Held, salt: bytes, expires_at: datetime) -> None:
    """Marks the token as used, and the session as living until `expires_at`."""
    await session.execute(
        update(RefreshToken)
        .where(RefreshToken.digest == held.token.digest)
        .values(rotated_at=func.now(), salt=salt)
        .execution_options(synchronize_session=False)
    )
    await session.execute(
        update(UserSession)
        .where(UserSession.id == held.session.id)
        .values(used_at=func.now(), expires_at=expires_at)
        .execution_options(synchronize_session=False)
    )


async def end(session: AsyncSession, user_id: int, reason: str, session_id: int) -> bool:
    """Ends one of the user's sessions; False if they have none with this id. Ended again, it stays as it was."""
    found = await session.scalar(
        select(UserSession.id).where(UserSession.id == session_id, UserSession.user_id == user_id)
    )
    await session.execute(_ending(user_id, reason).where(UserSession.id == session_id))
    return found is not None


async def end_all(session: AsyncSession, user_id: int, reason: str, but: int | None = None) -> None:
    """Ends all of the user's sessions, or all but one, and what was signed in to before there were sessions.

    The user's row comes first: see `begin`.
    """
    await sign_out_before_sessions(session, user_id)
    statement = _ending(user_id, reason)
    await session.execute(statement.where(UserSession.id != but) if but is not None else statement)


async def sign_out_before_sessions(session: AsyncSession, user_id: int) -> None:
    """Ends the access tokens of a release that knew no sessions."""
    statement = update(User).where(User.id == user_id).values(signed_out_at=func.now())
    await session.execute(statement.execution_options(synchronize_session=False))


async def page(
    session: AsyncSession, user_id: int, current: int | None, after: int, limit: int
) -> Sequence[Row[int, str, datetime, datetime, datetime, bool]]:
    """The user's sessions that aren't over, in the order of their ids; `current` says which of them is calling."""
    statement = (
        select(
            UserSession.id,
            UserSession.device,
            UserSession.created_at,
            UserSession.used_at,
            UserSession.expires_at,
            (UserSession.id == (current or 0)).label("current"),
        )
        .where(
            UserSession.user_id == user_id,
            UserSession.ended_at.is_(None),
            UserSession.expires_at > func.now(),
            UserSession.id > after,
        )
        .order_by(UserSession.id)
        .limit(limit)
    )
    return (await session.execute(statement)).all()


async def forget(session: AsyncSession, age: timedelta, limit: int) -> int:
    """Removes some of the sessions that have been over for longer than `age`, and returns how many."""
    over = (
        select(UserSession.id)
        .where(_over_at < func.now() - age)
        .order_by(_over_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    removed = await session.scalars(delete(UserSession).where(UserSession.id.in_(over)).returning(UserSession.id))
    return len(removed.all())


async def forget_tokens(session: AsyncSession, limit: int) -> int:
    """Removes some of the refresh tokens that have expired, and returns how many."""
    expired = (
        select(RefreshToken.digest)
        .where(RefreshToken.expires_at < func.now())
        .order_by(RefreshToken.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = delete(RefreshToken).where(RefreshToken.digest.in_(expired)).returning(RefreshToken.session_id)
    return len((await session.scalars(statement)).all())


def _ending(user_id: int, reason: str) -> Update:
    return (
        update(UserSession)
        .where(UserSession.user_id == user_id, UserSession.ended_at.is_(None))
        .values(ended_at=func.now(), end_reason=reason)
        .execution_options(synchronize_session=False)
    )
