"""Verbs that order something of the operator, each by an annotation."""

import argparse
import functools
from collections.abc import Callable
from datetime import UTC, datetime

from ..model import Object
from . import orders
from .apps import App, find, read
from .client import Client
from .console import Console
from .exits import Exit
from .orders import Order
from .waiting import ANSWER_SECONDS, Awaited, answer, judge, wait


async def promote(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    return await _order(client, console, args, functools.partial(orders.promote, full=args.full))


async def abort(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    return await _order(client, console, args, orders.abort)


async def retry(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    return await _order(client, console, args, orders.retry)


async def restart(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    token = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return await _order(client, console, args, functools.partial(orders.restart, token=token))


async def contract(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    return await _order(client, console, args, orders.contract)


async def downgrade(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    return await _order(client, console, args, functools.partial(orders.downgrade, revision=args.to))


async def restore(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    return await _order(client, console, args, functools.partial(orders.restore, revision=args.revision))


async def _order(client: Client, console: Console, args: argparse.Namespace, make: Callable[[App], Order]) -> Exit:
    app = await find(client, args.name)
    order = make(app)
    if order.warning and not args.yes:
        console.confirm(app.name, order.warning)
    return await give(client, console, args, app, order)


async def give(client: Client, console: Console, args: argparse.Namespace, app: App, order: Order) -> Exit:
    """An order that needs no more questions."""
    await client.annotate(app.path, order.annotation)
    console.say(f"Ordered: {order.said}.")
    awaited = Awaited("", 0, order.command, order.value, order.revision, order.step, order.operation)
    return await follow(client, console, args, app, awaited, {"command": order.command, "value": order.value})


async def follow(
    client: Client, console: Console, args: argparse.Namespace, app: App, awaited: Awaited, document: Object
) -> Exit:
    """With --wait to the end, else to the operator's first word; no word in time is not a failure then."""
    to_the_end = getattr(args, "wait", False)
    if not to_the_end and not awaited.command:
        return _show(console, app, "Asked for. `kubectl inventory status` shows how it goes.", Exit.DONE, document)
    decide = judge if to_the_end else answer

    async def look() -> App | None:
        if awaited.command == "restart":
            return await read(client, app.namespace, app.name)
        found = await client.get(app.path)
        return App(found) if found else None

    verdict = await wait(
        look,
        lambda found: decide(found, awaited),
        console.say if to_the_end else lambda _: None,
        args.timeout if to_the_end else ANSWER_SECONDS,
    )
    code, said = verdict.code or Exit.DONE, verdict.said
    if code is Exit.TIME_LIMIT and to_the_end:
        said = f"not within {args.timeout:g} s: {said}"
    elif code is Exit.TIME_LIMIT:
        code = Exit.DONE
        said = f"{said[:1].upper()}{said[1:].removesuffix('.')}; `kubectl inventory status` shows how it goes."
    return _show(console, app, said, code, document)


def _show(console: Console, app: App, said: str, code: Exit, document: Object) -> Exit:
    known = {"namespace": app.namespace, "name": app.name, **document, "message": said, "exitCode": int(code)}
    console.show("\n".join(console.paper.paragraph(said)), known)
    return code
