"""Values that a setting holds several of, or that have a notation of their own."""

import re
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

_HOST = re.compile(r"\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
_ORIGIN = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour)", re.ASCII)
_UNITS = {"second": 1, "minute": 60, "hour": 3600}


def _separate(given: Any) -> Any:
    """What stands between commas, as one line of the environment holds it."""
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given


def _hosts(given: tuple[str, ...]) -> tuple[str, ...]:
    for host in given:
        if not _HOST.fullmatch(host.lower()):
            raise ValueError(f"must be host names without scheme and port, or *.DOMAIN, or *; {host} is none")
    return tuple(host.lower() for host in given)


def _origins(given: tuple[str, ...]) -> tuple[str, ...]:
    for origin in given:
        # A browser would let any page call with a token that it has got hold of.
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"must be origins as https://app.example.com, each by its name; {origin} is none")
    return given


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    for network in given:
        try:
            ip_network(network)
        except ValueError as error:
            raise ValueError(f"must be networks as 10.0.0.0/8 or addresses: {error}") from None
    return given


def rate_of(text: str) -> tuple[int, int]:
    """How many in how many seconds. Raises ValueError for what is no such rate."""
    match = _RATE.fullmatch(text)
    if not match:
        raise ValueError("must be a number per second, minute or hour, as 600/minute")
    return int(match[1]), _UNITS[match[2]]


def _rate(text: str) -> str:
    rate_of(text)
    return text


_Several = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separate)]
Hosts = Annotated[_Several, AfterValidator(_hosts)]
Origins = Annotated[_Several, AfterValidator(_origins)]
Networks = Annotated[_Several, AfterValidator(_networks)]
RequestRate = Annotated[str, AfterValidator(_rate)]
