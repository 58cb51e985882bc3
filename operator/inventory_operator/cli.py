"""`inventory-operator run` and `inventory-operator prepare`."""

import argparse
import asyncio
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kopf
from kopf._core.engines import peering
from prometheus_client import REGISTRY

from . import handlers, metrics, server
from .apply import unguarded
from .kube import ApiError, Kube, UnreachableError
from .lease import Lease, LostLeaseError
from .prepare import ensure_secret, upgrade_crd
from .queue import Key, Queue
from .reconcile import Reconciler
from .webhook import Webhook

WORKERS = 8
SILENT_SECONDS = 300.0
"""The roundup goes through the queue; if it does not for so long, the process is of no use any more."""
ROUNDUP: Key = ("", "")


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(
        level=os.environ.get("LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("kopf").setLevel(logging.WARNING)
    args = _parser().parse_args()
    try:
        asyncio.run(args.run(args))
    except (ApiError, UnreachableError, LostLeaseError, ValueError) as error:
        sys.exit(f"inventory-operator: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inventory-operator", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    run = commands.add_parser("run", help="watch InventoryApps and release them")
    where = run.add_mutually_exclusive_group()
    where.add_argument("--namespace", action="append", help="namespace to watch; may be given more than once")
    where.add_argument("--all-namespaces", action="store_true", help="watch the whole cluster")
    run.add_argument("--lease", metavar="NAME", help="work only while holding this Lease: for more than one replica")
    run.add_argument(
        "--webhook-format",
        choices=("generic", "slack"),
        default="generic",
        help="form of what is posted to INVENTORY_WEBHOOK_URL (default %(default)s)",
    )
    run.add_argument("--port", type=int, default=server.PORT, help="port of probes and metrics (default %(default)s)")
    run.set_defaults(run=_run)
    ready = commands.add_parser(
        "prepare", help="create Secrets that are missing and bring the CRD up to date, then end"
    )
    ready.add_argument(
        "--namespace", default=os.environ.get("POD_NAMESPACE", "default"), help="namespace of the Secrets"
    )
    ready.add_argument("--secrets", type=_json_file, help="JSON file that lists the Secrets")
    ready.add_argument("--crd", action="store_true", help="apply the CRD of this version if the cluster's is older")
    ready.set_defaults(run=_prepare)
    return parser


async def _run(args: argparse.Namespace) -> None:
    namespaces = args.namespace or ([] if args.all_namespaces else [os.environ.get("POD_NAMESPACE", "default")])
    kube = await Kube.connect()
    beat = time.monotonic()

    async def work(key: Key) -> float | None:
        nonlocal beat
        if key == ROUNDUP:
            beat = time.monotonic()
            await roundup.look()
            return handlers.ROUNDUP_SECONDS
        after = await reconciler.reconcile(key)
        if after is None:
            asked.forget(key)
        return after

    place = os.environ.get("POD_NAMESPACE", "default")
    lease = Lease(kube, place, args.lease, _identity()) if args.lease else None
    # Its address is a secret: who has it can write there.
    address = os.environ.get("INVENTORY_WEBHOOK_URL", "")
    webhook = Webhook(address, args.webhook_format) if address else None
    reconciler = Reconciler(kube, lease.guard if lease else unguarded, webhook)

    def begin() -> None:
        nonlocal beat
        beat = time.monotonic()

    def stands_by() -> bool:
        return lease is not None and not lease.held.is_set()

    queue = Queue(work, WORKERS)
    asked = handlers.Asked()
    roundup = handlers.Roundup(kube, namespaces, queue, asked)
    registry = kopf.OperatorRegistry()
    handlers.register(registry, queue, kube, asked)
    ready = asyncio.Event()
    metrics.BUILD_INFO.labels(_version()).set(1)
    REGISTRY.register(metrics.ApiRequests(kube.calls))
    runner = await server.serve(
        # One that stands by is ready to lead, and has no queue that could get stuck.
        ready=lambda: ready.is_set() and (stands_by() or roundup.succeeded),
        alive=lambda: stands_by() or time.monotonic() - beat < SILENT_SECONDS,
        port=args.port,
    )
    queue.add(ROUNDUP)
    logging.getLogger(__name__).info("watching %s", ", ".join(namespaces) or "all namespaces")
    working = asyncio.create_task(_lead(lease, queue, webhook, begin))
    stop = asyncio.Event()
    working.add_done_callback(lambda _: stop.set())  # without its workers the process is of no use
    for _ in range(3):  # tasks of tasks of tasks
        await asyncio.sleep(0)  # Kopf waits 5 s at its end for every task that began after it: the workers go first
    try:
        await kopf.operator(
            registry=registry,
            settings=handlers.settings(),
            # Else Kopf asks for the name of the user, and in a pod that may have none.
            identity=peering.Identity("inventory-operator"),
            namespaces=namespaces,
            clusterwide=not namespaces,
            ready_flag=ready,
            stop_flag=stop,  # SIGTERM and SIGINT are Kopf's
        )
    finally:
        working.cancel()
        [ended] = await asyncio.gather(working, return_exceptions=True)
        if lease:
            await lease.release()
        await runner.cleanup()
        await kube.close()
    if isinstance(ended, ExceptionGroup):
        raise ended.exceptions[0]


async def _lead(lease: Lease | None, queue: Queue, webhook: Webhook | None, beat: Callable[[], None]) -> None:
    """Works on the queue, with a Lease only while it is held. Raises LostLeaseError when it is lost."""
    async with asyncio.TaskGroup() as group:
        if webhook:
            group.create_task(webhook.run())
        if lease:
            group.create_task(lease.keep())
            await lease.held.wait()
            beat()
        group.create_task(queue.run())


def _identity() -> str:
    return os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"


async def _prepare(args: argparse.Namespace) -> None:
    kube = await Kube.connect()
    try:
        if args.crd:
            print(await upgrade_crd(kube), flush=True)
        for wanted in args.secrets or ():
            print(await ensure_secret(kube, args.namespace, wanted), flush=True)
    finally:
        await kube.close()


def _json_file(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(path).read_text())
    return found


def _version() -> str:
    return os.environ.get("INVENTORY_VERSION") or version("inventory-on-kubernetes")
