"""What every answer tells a browser. The service owns these headers; a proxy need not add any."""

from collections.abc import Sequence

from starlette.types import Scope

Header = tuple[bytes, bytes]

# An answer of the API is data: nothing in it may load, run or be framed. A page of ours says what it needs instead.
_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
_API = "/api/v1/"
_OF_API = (*_ALWAYS, (b"cache-control", b"no-store"))
# Only what came by HTTPS may promise it: a proxy that we trust says so.
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")


def missing_security_headers(scope: Scope, headers: Sequence[Header]) -> list[Header]:
    """What this answer, which has these headers, does not say itself."""
    wanted = _OF_API if scope["path"].startswith(_API) else _ALWAYS
    if scope.get("scheme") == "https":
        wanted += (_HTTPS_ONLY,)
    present = {name for name, _ in headers}
    return [header for header in wanted if header[0] not in present]
