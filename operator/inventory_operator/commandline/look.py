"""Verbs that only look: status, history, schema, plan, logs."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ..kube import ApiError, UnreachableError
from ..model import GROUP, KIND, VERSION, Object
from . import plan_job, tables
from .apps import App, app_path, find, find_all, read
from .client import Client
from .console import Console
from .exits import Ended, Exit
from .preview import needs_migrations, preview, render
from .tree import tree

WATCH_SECONDS = 1.0


async def status(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    if not args.watch:
        apps = await _apps(client, args)
        console.show(_trees(apps, console), _documents(apps, args))
        return Exit.DONE
    if console.output:
        raise Ended(Exit.USAGE, "--watch is for people: -o can't go with it")
    before = ""
    while True:
        try:
            apps = await _apps(client, args)
            shown = _trees(apps, console)
            news = shown if console.out.isatty() else _news(apps)
        except UnreachableError as error:
            shown = news = str(error)  # it may be back in a moment
        if news != before:
            console.redraw(shown)
        before = news
        await asyncio.sleep(WATCH_SECONDS)


async def history(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    app = await find(client, args.name)
    entries = [entry | {"canComeBack": tables.back(app, entry)} for entry in app.history]
    console.show(tables.history(app, console.paper, _now()), entries)
    return Exit.DONE


async def schema(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    app = await find(client, args.name)
    found = app.schema
    document = {
        "expand": list(found.expand) if found else None,
        "contract": list(found.contract) if found else None,
        "observedAt": app.database[0].isoformat() if app.database else None,
        "releases": [
            {
                "revision": each.revision,
                "expand": list(each.schema.expand) if each.schema else None,
                "contract": list(each.schema.contract) if each.schema else None,
                "requiredContract": list(each.schema.required_contract) if each.schema else None,
                "objections": list(each.against(found)),
            }
            for each in app.releases
        ],
    }
    console.show(tables.schema(app, console.paper, _now()), document)
    return Exit.DONE


async def plan(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    manifest = _manifest(args.filename, args.name)
    name = manifest["metadata"]["name"]
    place = args.namespace or manifest["metadata"].get("namespace", "")
    client.namespace = place or client.namespace
    if args.namespace and manifest["metadata"].get("namespace", args.namespace) != args.namespace:
        raise Ended(Exit.USAGE, f"the manifest is for namespace {manifest['metadata']['namespace']}")
    app = await read(client, client.namespace, name)
    await _admit(client, console, manifest, app)
    found = None
    if not args.no_migrations and needs_migrations(app, manifest):
        found = await plan_job.ask(client, manifest, args.timeout, console.say)
    made = preview(app, manifest, found)
    console.show(render(made, name, console.paper, sql=not args.no_sql), made.document())
    return Exit.DONE


async def logs(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    app = await find(client, args.name)
    jobs = [job for job in app.jobs if args.revision in (None, job.revision) and not job.step.startswith("gate")]
    pods = [pod for pod in app.pods if jobs and pod.job == jobs[-1].name]
    if not pods:
        what = f"revision {args.revision}" if args.revision else app.name
        raise Ended(Exit.ERROR, f"no pod of a migration of {what} is left: `kubectl inventory history` has its outcome")
    console.say(f"{jobs[-1].step} of revision {jobs[-1].revision}, pod {pods[-1].name}")
    path = f"/api/v1/namespaces/{app.namespace}/pods/{pods[-1].name}/log"
    async for line in client.lines(path, **({"follow": "true"} if args.follow else {})):
        print(line, file=console.out, flush=args.follow)
    return Exit.DONE


async def _apps(client: Client, args: argparse.Namespace) -> list[App]:
    if args.name:
        return [await find(client, args.name)]
    apps = await find_all(client, everywhere=args.all_namespaces)
    if not apps:
        place = "the cluster" if args.all_namespaces else f"namespace {client.namespace}"
        raise Ended(Exit.ERROR, f"there is no InventoryApp in {place}")
    return apps


def _trees(apps: list[App], console: Console) -> str:
    return "\n\n".join(tree(app, console.paper, _now()) for app in apps)


def _news(apps: list[App]) -> str:
    """What has changed, times apart: into a file goes nothing that only says that time has passed."""
    return repr([(app.status, app.releases, [(p.name, p.state) for p in app.pods]) for app in apps])


def _documents(apps: list[App], args: argparse.Namespace) -> Any:
    documents = [
        {
            "namespace": app.namespace,
            "name": app.name,
            "status": app.status,
            "releases": [
                {
                    "revision": each.revision,
                    "release": each.hash,
                    "image": each.image,
                    "stage": each.stage,
                    "replicas": each.replicas,
                    "ready": each.ready,
                    "step": each.step,
                    "pods": [{"name": p.name, "state": p.state, "message": p.said} for p in app.pods_of(each)],
                }
                for each in app.releases
            ],
            "jobs": [{"name": j.name, "revision": j.revision, "step": j.step, "state": j.state} for j in app.jobs],
        }
        for app in apps
    ]
    return documents[0] if args.name else documents


def _manifest(filename: str, name: str) -> Object:
    """The InventoryApp of a file that may hold more, as `helm template` prints it. Raises Ended."""
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text()
        documents = [each for each in yaml.safe_load_all(text) if isinstance(each, dict)]
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Ended(Exit.USAGE, f"{filename} can't be read: {error}") from error
    items = [item for each in documents for item in (each.get("items") or [each])]
    apps = [each for each in items if each.get("kind") == KIND and str(each.get("apiVersion", "")).startswith(GROUP)]
    fitting = [each for each in apps if name in ("", (each.get("metadata") or {}).get("name"))]
    if len(fitting) != 1:
        names = ", ".join(str((each.get("metadata") or {}).get("name")) for each in apps) or "none"
        raise Ended(Exit.USAGE, f"InventoryApps in {filename}: {names}" + (": say which" if len(fitting) > 1 else ""))
    app: Object = fitting[0]
    if not isinstance(app.get("spec"), dict) or not app["spec"].get("image") or "name" not in app["metadata"]:
        raise Ended(Exit.USAGE, f"the InventoryApp in {filename} has no name or no spec.image")
    return app


async def _admit(client: Client, console: Console, manifest: Object, app: App | None) -> None:
    """The API server's own word on the manifest: nothing is written. Raises Ended if it would refuse."""
    name = manifest["metadata"]["name"]
    meta = app.found["metadata"] if app else {"name": name, "namespace": client.namespace}
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": meta, "spec": manifest["spec"]}
    try:
        if app:
            await client.try_out("PUT", app.path, body)
        else:
            await client.try_out("POST", app_path(client.namespace), body)
    except ApiError as error:
        if error.status == 403:
            console.say(f"not checked by the API server, which you may not ask: {error}")
            return
        raise Ended(Exit.REFUSED, f"the API server would refuse it: {error}") from error


def _now() -> datetime:
    return datetime.now(UTC)
