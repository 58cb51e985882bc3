"""Many callers at once on a server, over plain sockets: a client library would be busier than the server."""

import asyncio
import statistics
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_AT_ONCE = 10

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Result:
    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    times: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    probes: list[int] = field(default_factory=list)
    probe_seconds: list[float] = field(default_factory=list)
    refusals_have_retry_after: bool = True

    def per_second(self, status: int) -> float:
        return self.statuses[status] / self.seconds

    def median_seconds(self, status: int) -> float:
        return statistics.median(self.times[status])


class Load:
    def __init__(self, url: str, path: str, authorization: str) -> None:
        self._address = urlsplit(url)
        self._path = path
        self._authorization = authorization
        self._free: list[Connection] = []

    async def as_fast_as_it_goes(self, *, callers: int, seconds: float) -> Result:
        """Each caller sends its next request when the one before is answered."""
        result = Result(seconds)
        end = time.monotonic() + seconds

        async def call() -> None:
            while time.monotonic() < end:
                await self._request(result)

        await asyncio.gather(*(call() for _ in range(callers)))
        return result

    async def offered(self, *, per_second: float, seconds: float, probing: str) -> Result:
        """So many requests come, whether or not those before are answered; and a probe ten times a second."""
        result, started = Result(seconds), time.monotonic()
        requests: list[asyncio.Task[None]] = []
        probes = asyncio.create_task(self._probe(result, started + seconds, probing))
        while (elapsed := time.monotonic() - started) < seconds:
            due = int(elapsed * per_second) - len(requests)
            # Those that are late don't come all at once, if it is this process that has been kept from its work.
            requests += [asyncio.create_task(self._request(result)) for _ in range(min(due, _AT_ONCE))]
            await asyncio.sleep(0.005)
        await asyncio.gather(*requests, probes)
        return result

    async def close(self) -> None:
        for _, writer in self._free:
            writer.close()

    async def _request(self, result: Result) -> None:
        started = time.monotonic()
        reader, writer = self._free.pop() if self._free else await self._connect()
        status, head = await self._exchange(reader, writer, self._path)
        self._free.append((reader, writer))
        result.statuses[status] += 1
        result.times[status].append(time.monotonic() - started)
        if status == 503 and b"\r\nretry-after: " not in head.lower():
            result.refusals_have_retry_after = False

    async def _connect(self) -> Connection:
        return await asyncio.open_connection(self._address.hostname, self._address.port)

    async def _probe(self, result: Result, end: float, path: str) -> None:
        """Each on a connection of its own, as the kubelet's."""
        while time.monotonic() < end:
            started = time.monotonic()
            reader, writer = await self._connect()
            status, _ = await self._exchange(reader, writer, path)
            result.probes.append(status)
            result.probe_seconds.append(time.monotonic() - started)
            writer.close()
            await asyncio.sleep(0.1)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
    ) -> tuple[int, bytes]:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: inventory\r\nAuthorization: {self._authorization}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split(b" ", 2)[1]), head
