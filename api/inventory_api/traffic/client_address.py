"""Who a request comes from, when it comes through proxies."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

# How a socket that listens for both families writes the address of an IPv4 client.
_MAPPED = "::ffff:"
# A household or an office gets one of these and as many addresses in it as it likes.
_IPV6_NETWORK_BITS = 64


class ClientAddress:
    """Makes `client` of the scope the caller's address, and `scheme` the one that the caller spoke.

    Of X-Forwarded-For, it is the last address that is not a trusted proxy's: what stands before it, the caller may
    have written. X-Forwarded-For and X-Forwarded-Proto of anybody else are not looked at.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self._app = cast(ASGIApp, ProxyHeadersMiddleware(cast(Any, app), list(trusted))) if trusted else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client and client[0].startswith(_MAPPED):
            scope["client"] = (client[0].removeprefix(_MAPPED), client[1])
        await self._app(scope, receive, send)


@lru_cache(4096)
def limited_as(address: str) -> str:
    """What an address is counted as; of IPv6, the network that a single caller has all of."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), _IPV6_NETWORK_BITS), strict=False))
    return str(parsed)
