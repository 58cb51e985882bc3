"""`make bench-api`: how fast the service is, as ratios against a baseline of the same run."""

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.api import load, servers, transfer
from tests.benchmarks.api.servers import Server, Stores
from tests.benchmarks.ratios import Ratio, in_turns, ratio
from tests.benchmarks.usage import cpu_seconds, cpu_seconds_of_all, memory_mib
from tests.ending import clean_up_on_sigterm
from tests.integration.ports import free_port
from tests.integration.stores import SERVICE

_ITEMS = 10_000
_SQL = Path(__file__).with_name("checkout.sql")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench-api", description=__doc__)
    parser.add_argument("only", nargs="*", help=f"of {', '.join(_BENCHMARKS)}; all but memory if left out")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--items", type=int, default=1_000_000, help="of the large database")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of the memory benchmark")
    options = parser.parse_args()
    clean_up_on_sigterm()
    chosen = options.only or [name for name in _BENCHMARKS if name != "memory"]
    missed = 0
    with servers.stores() as stores:
        print(f"{options.rounds} rounds of {options.seconds:g} s in turns, {load.CONNECTIONS} connections; server on "
              "one core, PostgreSQL, Valkey and the load on the other", flush=True)  # fmt: skip
        for name in chosen:
            for line, met in _BENCHMARKS[name](Bench(stores, options)):
                missed += not met
                print(("  " if met else "! ") + line, flush=True)
    return 1 if missed else 0


Found = list[tuple[str, bool]]


class Bench:
    def __init__(self, stores: Stores, options: argparse.Namespace) -> None:
        self.stores = stores
        self.rounds: int = options.rounds
        self.seconds: int = options.seconds
        self.items: int = options.items
        self.requests: int = options.requests

    def database(self, items: int = _ITEMS) -> str:
        """With so many items, of which nobody runs out, filled by the service's own command."""
        name = self.stores.postgres.migrated_database()
        fill(self.stores, name, items)
        return name

    def compare(
        self, what: str, goal: float, measured: Callable[[int], load.Load], baseline: Callable[[int], load.Load]
    ) -> tuple[str, bool]:
        ours: list[load.Load] = []
        theirs: list[load.Load] = []

        def noted(into: list[load.Load], measure: Callable[[int], load.Load]) -> Callable[[int], float]:
            def one(number: int) -> float:
                into.append(measure(number))
                return into[-1].per_second

            return one

        found = ratio(*in_turns(self.rounds, noted(ours, measured), noted(theirs, baseline)))
        line = f"{what:<58} {found} of {_median(theirs)}, at {_median(ours)}"
        return _judged(line, found, goal)


def read_one(bench: Bench) -> Found:
    return _reads(bench, "one item", "/api/v1/items/{}", "/items/{}")


def list_50(bench: Bench) -> Found:
    return _reads(bench, "50 items", "/api/v1/items?limit=50", "/items")


def _reads(bench: Bench, what: str, path: str, baseline_path: str) -> Found:
    database = bench.database()
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(servers.service(bench.stores, database, free_port()))
        token = servers.sign_in(service)
        ours = _getting(bench, service, path, token)
        found = []
        for application, goal, name in (("bare_asgi", 0.5, "asyncpg in bare ASGI"), ("bare_fastapi", 0.5, "FastAPI")):
            other = stack.enter_context(servers.baseline(bench.stores, database, free_port(), application))
            theirs = _getting(bench, other, baseline_path, "")
            found.append(bench.compare(f"{what}, signed in, all middleware / {name}", goal, ours, theirs))
    return found


def cached(bench: Bench) -> Found:
    database, path = bench.database(), "/api/v1/reports/statistics"
    with servers.service(bench.stores, database, free_port()) as service:
        token = servers.sign_in(service)
        same = servers.answer(service, path, token)
        with servers.baseline(bench.stores, database, free_port(), "bare_cache", same) as other:
            ours, theirs = _getting(bench, service, path, token), _getting(bench, other, "/items/1", "")
            return [bench.compare("a cached report / Redis in bare ASGI", 0.5, ours, theirs)]


def check_out(bench: Bench) -> Found:
    database = bench.database()
    with servers.service(bench.stores, database, free_port()) as service:
        token = servers.sign_in(service)

        def ours(number: int) -> load.Load:
            url = f"{service.url}/api/v1/loans"
            return load.check_outs(url, service.pid, bench.seconds, token, _ITEMS, number)

        def theirs(_number: int) -> load.Load:
            return load.Load(_pgbench(bench, database), 0, 0)

        return [bench.compare("check-out / the same transaction in pgbench", 0.4, ours, theirs)]


def middleware(bench: Bench) -> Found:
    return _against(bench, "all middleware / none", 0.85, {}, {}, "tests.benchmarks.api.without_middleware")


def tracing(bench: Bench) -> Found:
    # Nobody listens there: what is exported is thrown away, as with a collector that is down.
    traced = {"otlp_endpoint": "http://127.0.0.1:9", "trace_sample_ratio": "0.01"}
    return _against(bench, "OpenTelemetry at 1 % / without", 0.9, traced, {}, "")


def _against(bench: Bench, what: str, goal: float, ours: dict[str, str], theirs: dict[str, str], program: str) -> Found:
    database = bench.database()
    with (
        servers.service(bench.stores, database, free_port(), **ours) as one,
        servers.service(bench.stores, database, free_port(), program, **theirs) as other,
    ):
        path, token = "/api/v1/items/{}", servers.sign_in(one)
        return [
            bench.compare(
                f"one item: {what}", goal, _getting(bench, one, path, token), _getting(bench, other, path, token)
            )
        ]


def import_(bench: Bench) -> Found:
    """What a file costs where there is nothing yet: a figure, without a baseline."""
    postgres = bench.stores.postgres
    database = postgres.migrated_database()
    with servers.service(bench.stores, database, free_port()) as service:
        client = transfer.signed_in(service.url)
        before = cpu_seconds(service.pid), cpu_seconds_of_all(postgres.pid)
        seconds = transfer.import_items(client)
        after = cpu_seconds(service.pid), cpu_seconds_of_all(postgres.pid)
    ours, theirs = (now - then for now, then in zip(after, before, strict=True))
    line = f"import of {transfer.ITEMS:,} items with stock: {seconds:.1f} s"
    return [(f"{line} (CPU: {ours:.1f} s in the service, {theirs:.1f} s in PostgreSQL)", True)]


def scale(bench: Bench) -> Found:
    """p99 of a large database against that of a small one; here less is better."""
    small, large = bench.database(), bench.database(bench.items)
    # Both have the same first items, by the same seed.
    ((sku,),) = bench.stores.postgres.execute("SELECT sku FROM items WHERE id = 4711", database=small)
    found: Found = []
    with (
        servers.service(bench.stores, small, free_port()) as few,
        servers.service(bench.stores, large, free_port()) as many,
    ):
        token = servers.sign_in(few)
        other_token = servers.sign_in(many)
        paths = {
            "list of 50": "/api/v1/items?limit=50",
            "list of 50 by name": "/api/v1/items?limit=50&sort=name",
            "search of a word": "/api/v1/items?q=drill",
            "search of a SKU": f"/api/v1/items?q={sku}",
            "search of two words": "/api/v1/items?q=cordless%20drill",
        }
        for what, path in paths.items():
            found.append(
                _p99s(
                    bench,
                    f"{what}, {bench.items:,} / {_ITEMS:,} items, p99",
                    _getting(bench, many, path, other_token, connections=4),
                    _getting(bench, few, path, token, connections=4),
                )
            )
        found.append(
            _p99s(
                bench,
                f"check-out, {bench.items:,} / {_ITEMS:,} items, p99",
                lambda n: load.check_outs(
                    f"{many.url}/api/v1/loans", many.pid, bench.seconds, other_token, bench.items, n
                ),
                lambda n: load.check_outs(f"{few.url}/api/v1/loans", few.pid, bench.seconds, token, _ITEMS, n),
            )
        )
    return found


def memory(bench: Bench) -> Found:
    """What a pod has in memory after so many requests of all kinds."""
    database = bench.database()
    parts = 10
    with servers.service(bench.stores, database, free_port()) as service:
        token = servers.sign_in(service)
        kept = []
        for part in range(parts):
            done = 0.0
            while done < bench.requests / parts:
                for path in ("/api/v1/items/7", "/api/v1/items?limit=50", "/api/v1/items?q=drill", "/api/v1/loans"):
                    answered = load.get(service.url + path, service.pid, 5, token)
                    done += answered.per_second * 5
                answered = load.check_outs(f"{service.url}/api/v1/loans", service.pid, 5, token, _ITEMS, part)
                done += answered.per_second * 5
            kept.append(memory_mib(service.pid))
            print(f"    {(part + 1) * bench.requests // parts:>10,} requests: {kept[-1]:.0f} MiB", flush=True)
    grown = kept[-1] - kept[len(kept) // 2]
    return [
        (f"memory after {bench.requests:,} requests: {kept[-1]:.0f} MiB", kept[-1] <= 160),
        (f"growth over the second half: {grown:+.1f} MiB", grown <= 5),
    ]


def start(bench: Bench) -> Found:
    database = bench.database(100)
    taken = []
    for _ in range(bench.rounds):
        with servers.service(bench.stores, database, free_port()) as service:
            taken.append(service.seconds_to_ready)
            kept = memory_mib(service.pid)
    seconds = statistics.median(taken)
    return [
        (f"process start to ready: {seconds:.2f} s (from {min(taken):.2f} to {max(taken):.2f})", seconds <= 1.5),
        (f"memory at rest: {kept:.0f} MiB", kept <= 120),
    ]


def _p99s(
    bench: Bench, what: str, many: Callable[[int], load.Load], few: Callable[[int], load.Load]
) -> tuple[str, bool]:
    large, small = in_turns(bench.rounds, lambda n: many(n).p99_milliseconds, lambda n: few(n).p99_milliseconds)
    found = ratio(large, small)
    line = f"{what:<58} {found} of {statistics.median(small):.1f} ms"
    return f"{line} (goal: at most 2)", found.value <= 2


def _getting(
    bench: Bench, server: Server, path: str, token: str, connections: int = load.CONNECTIONS
) -> Callable[[int], load.Load]:
    def get(number: int) -> load.Load:
        return load.get(server.url + path.format(number + 1), server.pid, bench.seconds, token, connections)

    return get


def _pgbench(bench: Bench, database: str) -> float:
    """Transactions a second, by as many connections as there are in the load, from the core of the server."""
    program = str(bench.stores.postgres.program("pgbench"))
    command = ["taskset", "-c", str(load.SERVER_CORE), program, "-n", "-M", "prepared", "-f", str(_SQL)]
    ((user,),) = bench.stores.postgres.execute("SELECT min(id) FROM users", database=database)
    amount = ["-c", str(load.CONNECTIONS), "-T", str(bench.seconds), "-D", f"items={_ITEMS}", "-D", f"user={user}"]
    said = subprocess.run(
        [*command, *amount, bench.stores.postgres.url(database)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    tps = re.search(r"tps = ([\d.]+)", said)
    assert tps, said
    return float(tps[1])


def fill(stores: Stores, database: str, items: int) -> None:
    """By the service's own command: as many of each that nobody runs out, and no single units, of which one would.

    No people: the service makes its admin only where there is nobody yet.
    """
    settings = {
        "INVENTORY_ENVIRONMENT": "testing",
        "INVENTORY_DATABASE_URL": stores.postgres.url(database, SERVICE),
        "INVENTORY_SECRET_KEY": "k" * 32,
    }
    what = ["--items", str(items), "--stock", "1000000", "--units", "0", "--people", "0", "--loans", "0"]
    command = [sys.executable, "-m", "inventory_api", "fill", *what]
    subprocess.run(command, env={**os.environ, **settings}, check=True, stdout=subprocess.DEVNULL)
    stores.postgres.execute("VACUUM ANALYZE", database=database)


def _median(loads: list[load.Load]) -> str:
    a_second = statistics.median(each.per_second for each in loads)
    cost = statistics.median(each.cpu_microseconds for each in loads)
    return f"{a_second:,.0f}/s" + (f" ({cost:.0f} µs of CPU each)" if cost else "")


def _judged(line: str, found: Ratio, goal: float) -> tuple[str, bool]:
    return f"{line} (goal: {goal:g})", found.value >= goal


_BENCHMARKS: dict[str, Callable[[Bench], Found]] = {
    "read-one": read_one,
    "list-50": list_50,
    "cached": cached,
    "check-out": check_out,
    "middleware": middleware,
    "tracing": tracing,
    "start": start,
    "import": import_,
    "scale": scale,
    "memory": memory,
}

if __name__ == "__main__":
    sys.exit(main())
