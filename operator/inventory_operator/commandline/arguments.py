"""The words of `kubectl inventory`."""

import argparse
from collections.abc import Callable
from typing import Any

DEFAULT_WAIT_SECONDS = 600.0


class Parser(argparse.ArgumentParser):
    """No abbreviated options: a script that uses one would break with the next option."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "allow_abbrev": False})


def parser() -> Parser:
    """`verb` of what it parses names the command."""
    root = Parser(prog="kubectl inventory", description="Releases of an InventoryApp: what goes on, and what shall.")
    verbs = root.add_subparsers(required=True, metavar="command", dest="verb", parser_class=Parser)

    def verb(name: str, text: str, *parts: Callable[[argparse.ArgumentParser], None]) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        for part in parts:
            part(made)
        _cluster(made)
        return made

    status = verb("status", "show releases, pods, weights, analyses and the schema", _app, _output)
    status.add_argument("-w", "--watch", action="store_true", help="show it anew whenever it changes")
    status.add_argument("-A", "--all-namespaces", action="store_true", help="all apps of the cluster")
    verb("history", "list the revisions, and which of them can come back", _app, _output)
    verb("schema", "show what the database has, and which releases run on it", _app, _output)
    plan = verb("plan", "show what applying a manifest would do, and do nothing", _output)
    plan.add_argument("name", nargs="?", default="", help="which InventoryApp, if the file has several")
    plan.add_argument("-f", "--filename", required=True, help="file with the InventoryApp, - for standard input")
    plan.add_argument("--no-migrations", action="store_true", help="ask no image for its migrations: no Job is made")
    plan.add_argument("--no-sql", action="store_true", help="leave the SQL out")
    plan.add_argument("--timeout", type=_seconds, default=120.0, help="seconds for the image's answer (%(default)g)")
    release = verb("release", "release another image", _app, _output, _waiting, _take_over)
    release.add_argument("--image", required=True, help="the image to release")
    promote = verb("promote", "let the release on its way take its next step", _app, _output, _waiting)
    promote.add_argument("--full", action="store_true", help="skip all further steps and analyses")
    verb("abort", "give up the release on its way", _app, _output, _waiting)
    verb("retry", "try the failed release again", _app, _output, _waiting)
    rollback = verb("rollback", "go back to a former release", _app, _output, _waiting, _take_over)
    rollback.add_argument("--to", type=_revision, metavar="REVISION", help="which one (default: the one before)")
    rollback.add_argument(
        "--unchecked", action="store_true", help="ask for it although the last known schema speaks against it"
    )
    verb("pause", "begin no release, and hold the one under way", _app, _output, _take_over)
    verb("resume", "end a pause", _app, _output, _waiting, _take_over)
    verb("hand-back", "give the fields that were taken over back to Helm or another tool", _app, _output)
    verb("restart", "replace all pods, one by one, without a release", _app, _output, _waiting)
    verb("contract", "run the contract migrations of the release that serves", _app, _output, _waiting, _confirmed)
    downgrade = verb("downgrade", "undo lossless contract migrations", _app, _output, _waiting, _confirmed)
    downgrade.add_argument("--to", type=_revision, metavar="REVISION", required=True, help="which shall fit again")
    restore = verb("restore", "bring back the backup from before a contract", _app, _output, _waiting, _confirmed)
    restore.add_argument("--revision", type=_revision, required=True, help="before whose contract it was taken")
    logs = verb("logs", "print what a migration has printed")
    logs.add_argument("what", choices=["migration"], help="whose log")
    logs.add_argument("name", nargs="?", default="", help="the InventoryApp (default: the only one)")
    logs.add_argument("--revision", type=_revision, help="of which release (default: the newest Job)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the migration ends")
    dashboard = verb("dashboard", "serve a page with all apps on 127.0.0.1, by your own rights")
    dashboard.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    dashboard.add_argument("-A", "--all-namespaces", action="store_true", help="all apps of the cluster")
    completion = verbs.add_parser("completion", help="print a script for the shell's completion")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    return root


def _app(made: argparse.ArgumentParser) -> None:
    made.add_argument("name", nargs="?", default="", help="the InventoryApp (default: the only one)")


def _cluster(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("cluster")
    group.add_argument("-n", "--namespace", default="", help="namespace (default: the context's)")
    group.add_argument("--context", default="", help="context of the kubeconfig")
    group.add_argument("--kubeconfig", default="", help="kubeconfig file")


def _output(made: argparse.ArgumentParser) -> None:
    made.add_argument("-o", "--output", choices=["json", "yaml"], default="", help="for programs")


def _waiting(made: argparse.ArgumentParser) -> None:
    made.add_argument("--wait", action="store_true", help="until it is complete, has failed, or waits for a person")
    made.add_argument("--timeout", type=_seconds, default=DEFAULT_WAIT_SECONDS, help="seconds for --wait (%(default)g)")


def _take_over(made: argparse.ArgumentParser) -> None:
    made.add_argument("--take-over", action="store_true", help="change fields that belong to Helm or another tool")


def _confirmed(made: argparse.ArgumentParser) -> None:
    made.add_argument("--yes", action="store_true", help="don't ask: you know what can't come back")


def _revision(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is no revision: it is a number, see `kubectl inventory history`")
    return int(text)


def _seconds(text: str) -> float:
    """`90`, `90s`, `10m`, `1h`, as kubectl takes them."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    if not number.isdecimal() or not 0 < int(number) * unit <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is no time up to 24h, as in 90s or 10m")
    return float(int(number) * unit)
