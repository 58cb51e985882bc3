"""Access tokens: signed, short-lived, and saying only who the caller is and what they signed in to."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt

_ALGORITHM = "HS256"
_ISSUER = "inventory-api"
# The clocks of two nodes may be that far apart: the pod that issued a token may be ahead of the one that reads it.
_LEEWAY_SECONDS = 30
_KNOWN_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Claims:
    """`session_id` is None in a token of a release that knew no sessions."""

    user_id: int
    session_id: int | None
    issued_at: datetime


class Tokens:
    """Signs with `key`, and knows what was signed with it or with one of `others`: those before it, or the next."""

    def __init__(self, key: str, seconds: int, others: Sequence[str] = ()) -> None:
        self._key = key
        self._key_id = _key_id(key)
        self._keys = {_key_id(each): each for each in (key, *others)}
        self._known: dict[str, tuple[Claims, float]] = {}
        """What tokens said that were read before, and until when each is valid: its signature stays what it was."""
        self.seconds = seconds

    def issue(self, user_id: int, session_id: int) -> str:
        now = datetime.now(UTC)
        expires_at = now + timedelta(seconds=self.seconds)
        claims = {"iss": _ISSUER, "sub": str(user_id), "sid": session_id, "iat": now, "exp": expires_at}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers={"kid": self._key_id})

    def read(self, token: str) -> Claims | None:
        """What the token says; None if it isn't one of ours, or no longer valid."""
        found = self._known.get(token)
        if found is None:
            found = self._verified(token)
            if found is not None:
                self._keep(token, found)
        return found[0] if found is not None and time.time() < found[1] else None

    def _keep(self, token: str, found: "tuple[Claims, float]") -> None:
        if len(self._known) >= _KNOWN_AT_MOST:
            self._known.clear()
        self._known[token] = found

    def _verified(self, token: str) -> "tuple[Claims, float] | None":
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            return None
        if key_id is not None:
            return self._read(token, self._keys[key_id]) if key_id in self._keys else None
        # A release that knew one key only named none.
        return next((found for key in self._keys.values() if (found := self._read(token, key))), None)

    def _read(self, token: str, key: str) -> "tuple[Claims, float] | None":
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "sub"]},
            )
            session_id = claims.get("sid")
            read = Claims(
                user_id=int(claims["sub"]),
                session_id=None if session_id is None else int(session_id),
                issued_at=datetime.fromtimestamp(claims["iat"], UTC),
            )
            return read, float(claims["exp"]) + _LEEWAY_SECONDS
        except (jwt.InvalidTokenError, ValueError):
            return None


def _key_id(key: str) -> str:
    """Names a key and gives nothing of it away: it is random, and long."""
    return hashlib.sha256(b"inventory signing key " + key.encode()).hexdigest()[:16]
