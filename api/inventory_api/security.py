"""What security wants to see, as values: a refusal carries one, and whoever answers the request reports it."""

import enum
from dataclasses import dataclass


class SecurityEventKind(enum.StrEnum):
    SIGN_IN_FAILED = "sign-in-failed"
    SIGN_IN_THROTTLED = "sign-in-throttled"
    REFRESH_TOKEN_REUSED = "refresh-token-reused"  # noqa: S105 - what happened to one
    API_TOKEN_REFUSED = "api-token-refused"  # noqa: S105 - what happened to one
    PERMISSION_REFUSED = "permission-refused"
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - what happened to one


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """`detail` is for people, and never what a caller sent: a password is easily typed into another field."""

    kind: SecurityEventKind
    user_id: int | None = None
    detail: str = ""
