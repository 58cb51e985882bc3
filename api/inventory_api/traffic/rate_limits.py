"""So many requests of a kind for each caller: a user, or an address while it isn't known whose request it is."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from inventory_api.metrics import Metrics
from inventory_api.middleware import PROBES, tell
from inventory_api.problems import problem_response
from inventory_api.traffic.client_address import limited_as
from inventory_api.traffic.rates import Rates
from inventory_api.traffic.request import class_of, first_headers
from inventory_api.traffic.routes import RouteClass
from inventory_api.traffic.windows import Count, Policy

_TOKENS = 10_000


class Callers:
    """Whose a request is, before anything is asked of the database.

    A token is nobody's until a request with it has been let in; then it is that user's, and a request with it counts
    for that user wherever it comes from. Until then, and for tokens that are not valid, the address counts.
    """

    def __init__(self) -> None:
        self._users: OrderedDict[bytes, str] = OrderedDict()

    def name(self, scope: Scope, token: bytes | None) -> str:
        if token is not None and token in self._users:
            self._users.move_to_end(token)
            return self._users[token]
        client = scope.get("client")
        return f"address:{limited_as(client[0]) if client else 'unknown'}"

    def learn(self, token: bytes, user_id: int) -> None:
        """A request with this token was let in as this user's."""
        self._users[token] = f"user:{user_id}"
        if len(self._users) > _TOKENS:
            self._users.popitem(last=False)

    def forget(self, token: bytes) -> None:
        """A request with this token was not let in; what comes with it is no longer that user's doing."""
        self._users.pop(token, None)


class RateLimits:
    """Refuses what is above a caller's rate with 429, and tells with every answer how much is left.

    The headers are those of the IETF's draft (draft-ietf-httpapi-ratelimit-headers): `RateLimit-Policy` says what is
    allowed, `RateLimit` what is left of it. Sign-in counts by address, whatever token comes with it.
    """

    def __init__(
        self,
        app: ASGIApp,
        rates: Rates,
        policies: Mapping[RouteClass, Policy],
        callers: Callers,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._rates = rates
        self._policies = {
            kind: (policy, f'"{policy.name}";q={policy.amount};w={policy.seconds}'.encode())
            for kind, policy in policies.items()
        }
        self._callers = callers
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            return await self._app(scope, receive, send)
        kind = class_of(scope)
        policy, policy_header = self._policies[kind]
        token = _token(scope)
        caller = self._callers.name(scope, None if kind is RouteClass.SIGN_IN else token)
        count = await self._rates.take(policy, caller)
        left = f'"{policy.name}";r={count.remaining};t={math.ceil(count.reset)}'
        tell(scope, (b"ratelimit-policy", policy_header), (b"ratelimit", left.encode()))
        if not count.admitted:
            self._metrics.rate_limited(policy.name)
            return await _too_many(scope, policy, count)(scope, receive, send)
        await self._app(scope, receive, send)
        if token is None:
            return
        state = scope["state"]
        if "user_id" in state:
            self._callers.learn(token, state["user_id"])
        elif state.get("status") == HTTPStatus.UNAUTHORIZED:
            self._callers.forget(token)


def _token(scope: Scope) -> bytes | None:
    """A digest of what the caller signs in with: nothing that is kept here lets anybody in."""
    given = first_headers(scope).get(b"authorization")
    return None if given is None else hashlib.sha256(given).digest()


def _too_many(scope: Scope, policy: Policy, count: Count) -> ASGIApp:
    wait = max(1, math.ceil(count.reset))
    return problem_response(
        scope["state"]["request_id"],
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-requests",
        f"More than {policy.amount} requests ({policy.name}) in {policy.seconds} s came from you. "
        f"Send this one again in {wait} s.",
        {"Retry-After": str(wait)},
    )
