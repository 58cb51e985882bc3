"""Access tokens: signed, short-lived, and saying only who the caller is."""

from datetime import UTC, datetime, timedelta

import jwt

_ALGORITHM = "HS256"
_ISSUER = "inventory-api"
# The clocks of two nodes may be that far apart: the pod that issued a token may be ahead of the one that reads it.
_LEEWAY_SECONDS = 30


class Tokens:
    def __init__(self, key: str, seconds: int) -> None:
        self._key = key
        self.seconds = seconds

    def issue(self, user_id: int) -> str:
        now = datetime.now(UTC)
        claims = {"iss": _ISSUER, "sub": str(user_id), "iat": now, "exp": now + timedelta(seconds=self.seconds)}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def user_id(self, token: str) -> int | None:
        """Whose token it is; None if it isn't one of ours, or no longer valid."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "sub"]},
            )
            return int(claims["sub"])
        except (jwt.InvalidTokenError, ValueError):
            return None
