"""Load from outside, by wrk, on a core of its own, and what it cost the server."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.usage import cpu_seconds

SERVER_CORE, OTHERS_CORE = 0, 1
CONNECTIONS = 16
_POST = """
math.randomseed(%(seed)d)
local number = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  number = number + 1
  wrk.headers["Idempotency-Key"] = "%(seed)d-" .. number
  return wrk.format(nil, nil, nil, string.format('%(body)s', math.random(1, %(items)d)))
end
"""


@dataclass(frozen=True)
class Load:
    """What a load did: requests a second, the server's CPU time for each, and the slowest one in a hundred."""

    per_second: float
    cpu_microseconds: float
    p99_milliseconds: float


class LoadError(Exception):
    """Not every answer was a success, so the figures say nothing."""


def get(url: str, pid: int, seconds: int, token: str = "", connections: int = CONNECTIONS) -> Load:
    return _wrk(url, pid, seconds, token, connections, [])


def check_outs(url: str, pid: int, seconds: int, token: str, items: int, seed: int) -> Load:
    """Each of another of the first `items` items, with a key of its own."""
    body = '{"item_id": %d, "quantity": 1, "due_at": "2090-01-01T00:00:00Z"}'
    with _script(_POST % {"seed": seed, "items": items, "body": body}) as script:
        return _wrk(url, pid, seconds, token, CONNECTIONS, ["-s", str(script)])


@contextmanager
def _script(text: str) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(text)
        file.flush()
        yield Path(file.name)


def _wrk(url: str, pid: int, seconds: int, token: str, connections: int, more: list[str]) -> Load:
    command = ["taskset", "-c", str(OTHERS_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *more]
    if token:
        command += ["-H", f"Authorization: Bearer {token}"]
    before = cpu_seconds(pid)
    said = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(pid) - before
    if "Non-2xx" in said or "Socket errors" in said:
        raise LoadError(f"{url}:\n{said}")
    requests = int(_number(r"(\d+) requests in", said))
    return Load(_number(r"Requests/sec:\s+([\d.]+)", said), used / requests * 1e6, _p99(said))


def _p99(said: str) -> float:
    found = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", said)
    assert found, said
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[found[2]]


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])
