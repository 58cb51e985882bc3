"""Entry point of `kubectl inventory`: which function a verb is, and how each end becomes an exit code."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping

from ..kube import ApiError, UnreachableError
from . import act, change, completion, look
from .arguments import parser
from .client import Client
from .console import Console, standard
from .dashboard.server import dashboard
from .exits import Ended, Exit

Verb = Callable[[Client, Console, argparse.Namespace], Awaitable[Exit]]

VERBS: Mapping[str, Verb] = {
    "status": look.status,
    "history": look.history,
    "schema": look.schema,
    "plan": look.plan,
    "logs": look.logs,
    "promote": act.promote,
    "abort": act.abort,
    "retry": act.retry,
    "restart": act.restart,
    "contract": act.contract,
    "downgrade": act.downgrade,
    "restore": act.restore,
    "release": change.release,
    "rollback": change.rollback,
    "pause": change.pause,
    "resume": change.resume,
    "hand-back": change.hand_back,
    "dashboard": dashboard,
}


def main() -> None:
    """The console script."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    args = parser().parse_args()
    if args.verb == "completion":
        print(completion.SCRIPTS[args.shell], end="")
        return
    try:
        code = int(asyncio.run(run(args, standard(getattr(args, "output", "")))))
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        sys.stderr.close()  # who read has had enough
        code = int(Exit.DONE)
    sys.exit(code)


async def run(
    args: argparse.Namespace,
    console: Console,
    connect: Callable[[str, str, str], Awaitable[Client]] = Client.open,
    verbs: Mapping[str, Verb] = VERBS,
) -> Exit:
    """One command, from its words to its exit code."""
    try:
        client = await connect(args.kubeconfig, args.context, args.namespace)
        try:
            return await verbs[args.verb](client, console, args)
        finally:
            await client.close()
    except Ended as end:
        console.say(str(end) if end.code is Exit.DONE else _error(str(end)))
        return end.code
    except ApiError as error:
        forbidden = error.status == 403
        console.say(_error(f"you may not do that: {error}" if forbidden else str(error)))
        return Exit.ERROR
    except UnreachableError as error:
        console.say(_error(str(error)))
        return Exit.ERROR


def _error(said: str) -> str:
    return f"kubectl inventory: {said}"
