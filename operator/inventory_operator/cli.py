"""`inventory-operator run` and `inventory-operator prepare`."""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kopf
from kopf._core.engines import peering

from . import handlers, metrics, server
from .kube import ApiError, Kube, UnreachableError
from .prepare import ensure_secret, upgrade_crd
from .queue import Key, Queue
from .reconcile import Roundup, reconcile

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
    except (ApiError, UnreachableError, ValueError) as error:
        sys.exit(f"inventory-operator: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inventory-operator", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    run = commands.add_parser("run", help="watch InventoryApps and release them")
    where = run.add_mutually_exclusive_group()
    where.add_argument("--namespace", action="append", help="namespace to watch; may be given more than once")
    where.add_argument("--all-namespaces", action="store_true", help="watch the whole cluster")
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
            return Roundup.SECONDS
        return await reconcile(kube, key)

    queue = Queue(work, WORKERS)
    roundup = Roundup(kube, namespaces, queue)
    registry = kopf.OperatorRegistry()
    handlers.register(registry, queue)
    ready = asyncio.Event()
    metrics.BUILD_INFO.labels(_version()).set(1)
    runner = await server.serve(
        ready=lambda: ready.is_set() and roundup.succeeded,
        alive=lambda: time.monotonic() - beat < SILENT_SECONDS,
        port=args.port,
    )
    queue.add(ROUNDUP)
    logging.getLogger(__name__).info("watching %s", ", ".join(namespaces) or "all namespaces")
    working = asyncio.create_task(queue.run())
    stop = asyncio.Event()
    working.add_done_callback(lambda _: stop.set())  # without its workers the process is of no use
    await asyncio.sleep(
        0
    )  # Kopf waits 5 s at its end for every task that began after it: the workers must be there now
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
        await runner.cleanup()
        await kube.close()
    if isinstance(ended, Exception):
        raise ended


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
