"""The command line. Each command imports what it needs when it runs: most need little."""

import argparse
import gc
import signal
import sys
from collections.abc import Callable, Sequence

from inventory_api.signals import exit_on

MIGRATE_ACTIONS = {
    "expand": "apply pending expand migrations",
    "contract": "apply pending contract migrations",
    "downgrade": "take contract migrations back",
    "status": "say what the image and the database have",
    "plan": "show what is pending",
    "adopt": "hand the database over to the InventoryApp of the environment",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the process's exit code."""
    # A container's first process gets no signal that it has no handler for, and the commands' imports take a second.
    exit_on(signal.SIGTERM)
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    return command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inventory-api", description="The inventory and loans service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve HTTP")
    serve.add_argument("--port", type=int, default=8000)
    serve.set_defaults(command=_serve)

    dev = commands.add_parser("dev", help="a first look: its own PostgreSQL and Valkey, an admin, and the service")
    dev.add_argument("--port", type=int, default=8000)
    dev.add_argument("--data", metavar="DIRECTORY", help="keep the data here; else it is gone when the command ends")
    dev.set_defaults(command=_dev)

    migrate = commands.add_parser("migrate", help="change the database schema, or look at it")
    migrate.set_defaults(command=_migrate, to="")
    actions = migrate.add_subparsers(dest="action", required=True, metavar="ACTION")
    parsers = {action: actions.add_parser(action, help=what) for action, what in MIGRATE_ACTIONS.items()}
    parsers["downgrade"].add_argument(
        "--to", required=True, metavar="REVISION", help="the newest contract migration that stays, or `base` for none"
    )

    smoke = commands.add_parser("smoke", help="sign in, create an item, lend it and take it back")
    smoke.add_argument("--url", required=True)
    smoke.set_defaults(command=_smoke)

    create_admin = commands.add_parser("create-admin", help="create an admin; the password comes from standard input")
    create_admin.add_argument("email")
    create_admin.set_defaults(command=_create_admin)

    check_stock = commands.add_parser("check-stock", help="compare every figure of stock with the ledger")
    check_stock.set_defaults(command=_check_stock)

    fill = commands.add_parser("fill", help="fill the database with made-up items, people and loans")
    fill.add_argument("--items", type=int, required=True)
    fill.add_argument("--people", type=int, help="default: one for 20 items")
    fill.add_argument("--loans", type=int, help="default: one for 5 items; most of them are returned")
    fill.add_argument("--seed", type=int, default=0, help="another one makes other things, beside those of this one")
    fill.add_argument("--stock", type=int, help="of each item; default: from 1 to 40")
    fill.add_argument("--units", type=int, default=2, metavar="PERCENT", help="of the items, tracked by units")
    fill.add_argument("--password", help="by which all these people may sign in; default: none of them may")
    fill.add_argument("--yes-in-production", action="store_true", help="do it in production too")
    fill.set_defaults(command=_fill)

    openapi = commands.add_parser("openapi", help="print the API's OpenAPI document")
    openapi.set_defaults(command=_openapi)
    return parser


def _serve(options: argparse.Namespace) -> int:
    # Nothing of what the imports make is garbage, and looking for it takes an eighth of the time to start.
    gc.disable()
    from inventory_api.server import listen, serve
    from inventory_api.settings import ServiceSettings, SettingsError, read_settings

    try:
        settings = read_settings(ServiceSettings)
    except SettingsError as error:
        return _refuse(error)
    with listen(None, options.port) as listener:
        serve(settings, listener)
    return 0


def _dev(options: argparse.Namespace) -> int:
    from inventory_api.dev import first_look

    return first_look(port=options.port, data=options.data)


def _migrate(options: argparse.Namespace) -> int:
    from inventory_api.migrations.command import migrate

    return migrate(options.action, options.to)


def _smoke(options: argparse.Namespace) -> int:
    from inventory_api.smoke import smoke

    return smoke(options.url)


def _create_admin(options: argparse.Namespace) -> int:
    from inventory_api.settings import ServiceSettings, SettingsError, read_settings
    from inventory_api.users.command import create_admin

    try:
        settings = read_settings(ServiceSettings)
    except SettingsError as error:
        return _refuse(error)
    return create_admin(settings, options.email, sys.stdin.readline().rstrip("\n"))


def _check_stock(options: argparse.Namespace) -> int:
    from inventory_api.ledger.command import check_stock
    from inventory_api.settings import ServiceSettings, SettingsError, read_settings

    try:
        settings = read_settings(ServiceSettings)
    except SettingsError as error:
        return _refuse(error)
    return check_stock(settings)


def _fill(options: argparse.Namespace) -> int:
    from inventory_api.fill.command import fill
    from inventory_api.settings import ServiceSettings, SettingsError, read_settings

    try:
        settings = read_settings(ServiceSettings)
    except SettingsError as error:
        return _refuse(error)
    return fill(settings, options)


def _openapi(options: argparse.Namespace) -> int:
    import json

    from inventory_api.app import openapi_document

    print(json.dumps(openapi_document(), indent=2))
    return 0


def _refuse(error: Exception) -> int:
    print(f"inventory-api cannot start; the environment is wrong:\n{error}", file=sys.stderr)
    return 2
