"""Whom a request comes from: believed only of proxies that are trusted."""

from collections.abc import Sequence

import pytest
from inventory_api.traffic.client_address import ClientAddress, limited_as
from starlette.types import Scope

from .asgi import answering, request

PROXIES = ("10.0.0.0/8", "2001:db8:1::/48", "192.168.1.1")


async def seen(peer: str, *forwarded: str, proto: str = "", trusted: Sequence[str] = PROXIES) -> tuple[str, str]:
    found: list[Scope] = []
    headers = [("X-Forwarded-For", value) for value in forwarded] + [("X-Forwarded-Proto", proto)] * bool(proto)
    app = ClientAddress(answering(b"", seen=found.append), trusted)
    await request(app, headers=headers, client=(peer, 1))
    return found[0]["client"][0], found[0]["scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.1.2.3", ["203.0.113.5"], "203.0.113.5"),
        ("::ffff:10.1.2.3", ["203.0.113.5"], "203.0.113.5"),
        ("10.1.2.3", ["198.51.100.1, 203.0.113.5"], "203.0.113.5"),
        ("10.1.2.3", ["198.51.100.1, 203.0.113.5, 10.9.9.9"], "203.0.113.5"),
        ("10.1.2.3", ["198.51.100.1", "203.0.113.5, 192.168.1.1"], "203.0.113.5"),
        ("2001:db8:1::7", ["2001:db8:2::9"], "2001:db8:2::9"),
        ("10.1.2.3", ["203.0.113.5:4711"], "203.0.113.5"),
        ("10.1.2.3", ["[2001:db8:2::9]:4711"], "2001:db8:2::9"),
        ("10.1.2.3", ["10.0.0.9"], "10.0.0.9"),
        ("10.1.2.3", [], "10.1.2.3"),
    ],
)
async def test_it_is_the_last_address_that_is_no_trusted_proxys(peer: str, forwarded: list[str], address: str) -> None:
    assert (await seen(peer, *forwarded))[0] == address


@pytest.mark.parametrize("peer", ["203.0.113.5", "192.168.1.2", "::1", "::ffff:203.0.113.5"])
async def test_nobody_else_is_believed(peer: str) -> None:
    assert await seen(peer, "198.51.100.1", proto="https") == (peer.removeprefix("::ffff:"), "http")


async def test_without_trusted_proxies_nobody_at_all_is_believed() -> None:
    assert await seen("127.0.0.1", "198.51.100.1", proto="https", trusted=()) == ("127.0.0.1", "http")


async def test_a_trusted_proxy_tells_what_the_caller_spoke() -> None:
    assert await seen("10.1.2.3", "203.0.113.5", proto="https") == ("203.0.113.5", "https")
    assert await seen("10.1.2.3", "203.0.113.5", proto="gopher") == ("203.0.113.5", "http")


def test_a_callers_whole_ipv6_network_counts_as_one() -> None:
    assert limited_as("2001:db8:2:3::9") == limited_as("2001:db8:2:3:ffff::1") == "2001:db8:2:3::/64"
    assert limited_as("2001:db8:2:4::9") != limited_as("2001:db8:2:3::9")


@pytest.mark.parametrize("address", ["", "nonsense", "1.2.3.4, 5.6.7.8", "a" * 10_000])
def test_what_is_no_address_counts_as_one_unknown(address: str) -> None:
    assert limited_as(address) == "unknown"
