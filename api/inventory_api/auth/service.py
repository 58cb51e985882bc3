from http import HTTPStatus

from inventory_api.auth.schemas import SignIn
from inventory_api.database import Database
from inventory_api.passwords import Passwords
from inventory_api.problems import Problem, too_many_attempts
from inventory_api.security import SecurityEvent, SecurityEventKind
from inventory_api.sessions import service as sessions
from inventory_api.sessions.service import Grant, Lifetimes
from inventory_api.throttle import SignInThrottle
from inventory_api.users import repository as users
from inventory_api.users.models import User


async def sign_in(
    database: Database,
    passwords: Passwords,
    throttle: SignInThrottle,
    given: SignIn,
    device: str | None,
    lifetimes: Lifetimes,
) -> Grant:
    """A session of the user who has this password. An unknown address and a wrong password can't be told apart."""
    # Who finds the line full has not guessed, so it comes before the count, and bounds the work of all that follows.
    with passwords.place_in_line():
        if not await throttle.admit(given.email):
            raise too_many_attempts()
        # Hashing takes long; others can use the connection meanwhile.
        async with database.transaction() as session:
            user = await users.by_email(session, given.email)
        right = await passwords.verify(given.password, user.password_hash if user else None)
    if user is None or not user.active or not right:
        raise _wrong(user)
    async with database.transaction() as session:
        grant = await sessions.begin(session, user.id, user.password_hash, device, lifetimes)
    if grant is None:
        raise _wrong(user)
    await throttle.forget(given.email)
    return grant


def _wrong(user: User | None) -> Problem:
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "wrong-credentials",
        "The email address or the password is wrong.",
        {"WWW-Authenticate": "Bearer"},
        event=SecurityEvent(SecurityEventKind.SIGN_IN_FAILED, user.id if user else None),
    )
