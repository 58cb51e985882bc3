"""`inventory-api migrate`: runs in a thread, so that a signal or a deadline can end it at any time."""

import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from inventory_api.logs import configure_logs
from inventory_api.migrations.result import Result
from inventory_api.migrations.revisions import MIGRATIONS, BrokenHistoryError, read_image
from inventory_api.migrations.run import MigrationRun
from inventory_api.migrations.session import InterruptedRunError, Interruption
from inventory_api.settings import MigrationSettings, SettingsError, read_settings


def migrate(action: str, to: str = "", migrations: Path = MIGRATIONS) -> int:
    """Runs one action; logs go to standard error, the result is the last line of standard output.

    `to` is for a downgrade: the newest contract migration that stays.
    """
    try:
        settings = read_settings(MigrationSettings)
    except SettingsError as error:
        return _report(Result("refused", error="; ".join(str(error).splitlines())), None)
    configure_logs(settings.log_level, stream=sys.stderr)
    interruption = Interruption()
    try:
        run = MigrationRun(settings, interruption, read_image(migrations))
    except BrokenHistoryError as error:
        return _report(Result("refused", error=str(error)), settings.termination_log)
    actions: dict[str, Callable[[], Result]] = {
        "expand": run.expand,
        "contract": run.contract,
        "status": run.status,
        "downgrade": lambda: run.downgrade(to),
        "plan": lambda: run.plan(print),
        "adopt": run.adopt,
    }
    return _report(_interruptible(actions[action], interruption), settings.termination_log)


def _interruptible(step: Callable[[], Result], interruption: Interruption) -> Result:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: interruption.interrupt(InterruptedRunError("told to stop")))
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(step).result()


def _report(result: Result, termination_log: str | None) -> int:
    if termination_log:
        Path(termination_log).write_text(result.short_line(), encoding="utf-8")
    print(result.line(), flush=True)
    return result.exit_code
