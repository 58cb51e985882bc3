"""Tokens that say nothing: random, and kept as digests, so that the database gives none of them away."""

import hashlib
import hmac
import secrets

_BYTES = 32


def issue(prefix: str) -> str:
    """A new token. The prefix tells its kind, and lets scanners find one that leaked."""
    return prefix + secrets.token_urlsafe(_BYTES)


def digest(token: str) -> bytes:
    """SHA-256: of so much chance, nothing slower is needed, and no salt."""
    return hashlib.sha256(token.encode()).digest()


def new_salt() -> bytes:
    return secrets.token_bytes(_BYTES)


def successor(prefix: str, token: str, salt: bytes) -> str:
    """The token that follows this one: the same each time, and unknown to whoever has only one of the two."""
    return prefix + hmac.new(token.encode(), salt, hashlib.sha256).hexdigest()
