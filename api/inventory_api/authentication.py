"""Who is calling, by the token that a request brings: one query by an index, whichever kind of token it is."""

import time
from http import HTTPStatus

from inventory_api import opaque_tokens
from inventory_api.api_tokens import repository as api_tokens
from inventory_api.api_tokens.service import PREFIX
from inventory_api.api_tokens.uses import ApiTokenUses
from inventory_api.problems import Problem
from inventory_api.reads import Reads
from inventory_api.security import SecurityEvent, SecurityEventKind
from inventory_api.sessions import repository as sessions
from inventory_api.tokens import Tokens
from inventory_api.users import repository as users
from inventory_api.users.models import Role
from inventory_api.users.permissions import Principal, Scope

_KNOWN_AT_MOST = 10_000


class KnownCallers:
    """Who has called a moment ago, so that whoever reads much is not asked about with each request.

    Whoever signs out, or loses a right, is known for up to `seconds` more, to the pods that did not hear of it: this
    one forgets all with each change, whatever was changed.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: dict[str, tuple[Principal, float]] = {}

    def get(self, token: str) -> Principal | None:
        found = self._known.get(token)
        return found[0] if found and time.monotonic() < found[1] else None

    def keep(self, token: str, caller: Principal) -> None:
        if len(self._known) >= _KNOWN_AT_MOST:
            self._known.clear()
        self._known[token] = caller, time.monotonic() + self._seconds

    def forget(self) -> None:
        self._known.clear()


async def caller_of(reads: Reads, tokens: Tokens, uses: ApiTokenUses, token: str) -> Principal | None:
    """None where the token is nobody's. Raises a 401 Problem where it is an API token that is over."""
    if token.startswith(PREFIX):
        return await _by_api_token(reads, uses, token)
    claims = tokens.read(token)
    if claims is None:
        return None
    if claims.session_id is None:
        found = await users.caller(reads, claims.user_id, claims.issued_at)
    else:
        found = await sessions.caller(reads, claims.user_id, claims.session_id)
    return Principal(found["id"], Role(found["role"]), claims.session_id) if found else None


async def _by_api_token(reads: Reads, uses: ApiTokenUses, token: str) -> Principal | None:
    found = await api_tokens.caller(reads, opaque_tokens.digest(token))
    if found is None:
        return None
    why = "was revoked" if found["revoked_at"] else "has expired" if found["expired"] else ""
    if not found["active"]:
        why = "is of a user who is not active"
    if why:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "api-token-over",
            f"This API token {why}.",
            {"WWW-Authenticate": "Bearer"},
            event=SecurityEvent(
                SecurityEventKind.API_TOKEN_REFUSED, found["id"], f"API token {found['token_id']} {why}"
            ),
        )
    uses.note(found["token_id"])
    return Principal(found["id"], Role(found["role"]), scopes=frozenset(map(Scope, found["scopes"])))
