"""`inventory-api fill`."""

import argparse
import asyncio
import secrets
import sys
import time
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, ValidationError

from inventory_api.database import Database, is_passing
from inventory_api.fields import MAX_QUANTITY, Input, NewPassword
from inventory_api.fill import service
from inventory_api.fill.service import Made, NotMadeError, Wanted
from inventory_api.passwords import Passwords
from inventory_api.settings import ServiceSettings

# A batch takes longer than any request may.
_STATEMENT_SECONDS = 3600
# A barcode has eight digits for the number.
_MOST = 10_000_000
_INTERRUPTED = 130


class _Options(Input):
    items: Annotated[int, Field(ge=1, le=_MOST)]
    people: Annotated[int, Field(ge=0, le=_MOST)]
    loans: Annotated[int, Field(ge=0, le=_MOST)]
    seed: Annotated[int, Field(ge=0, le=9999)]
    stock: Annotated[int, Field(ge=1, le=MAX_QUANTITY)] | None
    units: Annotated[int, Field(ge=0, le=100)]
    password: NewPassword | None


def fill(settings: ServiceSettings, given: argparse.Namespace) -> int:
    """Returns 2 where nothing was tried, 1 where a batch could not be made, and 130 after Ctrl-C."""
    if settings.environment == "production" and not given.yes_in_production:
        print(
            "This is production (INVENTORY_ENVIRONMENT), and what is made up stays: the ledger forgets nothing. "
            "Say --yes-in-production if you want it there.",
            file=sys.stderr,
        )
        return 2
    try:
        options = _options(given)
    except ValidationError as error:
        for problem in error.errors():
            print(f"--{problem['loc'][0]}: {problem['msg']}", file=sys.stderr)
        return 2
    if options.loans and not options.people:
        print("--people: must be 1 or more, or there is nobody to lend to; or say --loans 0.", file=sys.stderr)
        return 2
    return _fill(settings, options)


def _options(given: argparse.Namespace) -> _Options:
    return _Options(
        items=given.items,
        people=max(1, given.items // 20) if given.people is None else given.people,
        loans=given.items // 5 if given.loans is None else given.loans,
        seed=given.seed,
        stock=given.stock,
        units=given.units,
        password=given.password,
    )


def _fill(settings: ServiceSettings, options: _Options) -> int:
    began, progress = time.monotonic(), _Progress()
    try:
        made = asyncio.run(_make(settings, options, progress))
    except KeyboardInterrupt:
        progress.end()
        print("Stopped. The batches that are done stay; this seed can't be made again.", file=sys.stderr)
        return _INTERRUPTED
    except NotMadeError as error:
        progress.end()
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        if not is_passing(error):
            raise
        progress.end()
        print(f"The database cannot be reached, or is too busy: {error}", file=sys.stderr)
        return 1
    progress.end()
    print(_summary(made, time.monotonic() - began))
    return 0


async def _make(settings: ServiceSettings, options: _Options, progress: "_Progress") -> Made:
    wanted = Wanted(
        items=options.items,
        people=options.people,
        loans=options.loans,
        seed=options.seed,
        today=datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0),
        stock=options.stock,
        units_percent=options.units,
    )
    # Nobody knows the other one, so nobody signs in; and whoever tries is answered as with any wrong password.
    password_hash = await Passwords().hash(options.password or secrets.token_urlsafe(32))
    database = Database(settings.model_copy(update={"database_statement_seconds": _STATEMENT_SECONDS}))
    try:
        return await service.fill(database, wanted, password_hash, progress.tell)
    finally:
        await database.close()


class _Progress:
    """One line that is written anew on a terminal, and else a line for each batch."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._is_within_line = False

    def tell(self, what: str, done: int, number: int) -> None:
        line = f"{what}: {done:,} of {number:,}"
        if not self._is_terminal:
            print(line, flush=True)
            return
        print(f"\r\x1b[K{line}", end="", flush=True)
        self._is_within_line = True

    def end(self) -> None:
        if self._is_within_line:
            print("\r\x1b[K", end="", flush=True)
            self._is_within_line = False


def _summary(made: Made, seconds: float) -> str:
    return (
        f"Made {made.items:,} items with {made.units:,} units, {made.people:,} people and {made.loans:,} loans, of "
        f"which {made.open_loans:,} are open, in {seconds:,.1f} s."
    )
