"""The lint of migrations, and squawk's: the image doesn't have that one."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from inventory_api.migrations import lint

# Rules of taste; what holds here anyway: the command opens the transaction and sets the timeouts, numbers are bounded
# in the API, and one table is Alembic's own; and three that don't see that the table is new or take no reason, which
# ours below do.
_NOT_OURS = (
    "adding-not-nullable-field",
    "adding-required-field",
    "ban-drop-constraint",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-robust-stmts",
    "prefer-text-field",
    "require-lock-timeout",
    "require-statement-timeout",
    "transaction-nesting",
)

# Ours see these too, and take a reason: undoing a contract may have to drop what that has made.
_UNDOES = (
    "ban-drop-column",
    "ban-drop-not-null",
    "ban-drop-table",
    "renaming-column",
    "renaming-table",
)


def objections_to(sql: str, running_code_is_unharmed: str = "") -> list[str]:
    """Why running code would notice an expand migration."""
    return [*lint.objections_to(sql, running_code_is_unharmed), *_squawk(sql, _NOT_OURS)]


def objections_to_downgrade(sql: str, running_code_is_unharmed: str = "") -> list[str]:
    """Why running code would notice that a contract migration is taken back, or why it isn't."""
    if lint.does_nothing(sql):
        return ["nothing is brought back"]
    return [
        *lint.objections_to_downgrade(sql, running_code_is_unharmed),
        *_squawk(sql, (*_NOT_OURS, *_UNDOES)),
    ]


def _squawk(sql: str, excluded: Sequence[str]) -> list[str]:
    program = Path(sys.executable).with_name("squawk")
    command = [
        str(program) if program.exists() else shutil.which("squawk") or "squawk",
        "--pg-version=15.0",
        "--assume-in-transaction",
        f"--exclude={','.join(excluded)}",
        "--reporter=Gcc",
        "--stdin-filepath=migration.sql",
    ]
    done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if "warning:" in line or "error:" in line]
