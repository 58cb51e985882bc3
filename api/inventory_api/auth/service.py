from http import HTTPStatus

import structlog

from inventory_api.auth.schemas import SignIn
from inventory_api.database import Database
from inventory_api.passwords import Passwords
from inventory_api.problems import Problem
from inventory_api.throttle import SignInThrottle
from inventory_api.users import repository as users
from inventory_api.users.models import User

log = structlog.get_logger()


async def sign_in(database: Database, passwords: Passwords, throttle: SignInThrottle, given: SignIn) -> User:
    """The user who has this password. An unknown address and a wrong password can't be told apart."""
    # Who finds the line full has not guessed, so it comes before the count, and bounds the work of all that follows.
    with passwords.place_in_line():
        if not await throttle.admit(given.email):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too-many-attempts",
                "Too many sign-ins with this address were tried. Wait a while.",
                {"Retry-After": "60"},
            )
        user = await _user_with_password(database, passwords, given)
    if user is None:
        log.info("sign-in failed")
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "wrong-credentials",
            "The email address or the password is wrong.",
            {"WWW-Authenticate": "Bearer"},
        )
    await throttle.forget(given.email)
    return user


async def _user_with_password(database: Database, passwords: Passwords, given: SignIn) -> User | None:
    # Hashing takes long; others can use the connection meanwhile.
    async with database.transaction() as session:
        user = await users.by_email(session, given.email)
    right = await passwords.verify(given.password, user.password_hash if user else None)
    return user if user and user.active and right else None
