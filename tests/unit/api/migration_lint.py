"""What an expand migration may not do to the code that runs while it is applied."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

# Rules of taste, and what holds here anyway: the command opens the transaction and sets the timeouts, numbers are
# bounded in the API, and one table is Alembic's own.
_NOT_OURS = (
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-robust-stmts",
    "prefer-text-field",
    "require-lock-timeout",
    "require-statement-timeout",
    "transaction-nesting",
)
_FORBIDDEN = {
    r"\bDROP\s+(TABLE|COLUMN|VIEW|MATERIALIZED|TYPE|SEQUENCE|FUNCTION|SCHEMA|TRIGGER|DEFAULT)\b": "drops something",
    r"\bALTER\s+TABLE\s+\S+\s+DROP\s+(?!CONSTRAINT\b)": "drops something",
    r"\bRENAME\b": "renames something",
    r"\bALTER\s+(COLUMN\s+)?\S+\s+(SET\s+DATA\s+)?TYPE\b": "changes a type",
    r"\bSET\s+NOT\s+NULL\b": "tightens a column",
    r"\bTRUNCATE\b": "removes rows",
    r"\bDELETE\s+FROM\s+(?!alembic_version)": "removes rows",
    r"\bREVOKE\b": "takes a right away",
    r"\bCREATE\b[^;]*\bVIEW\b[^;]*\bSELECT\s+(\w+\.)?\*": "makes a view of all columns, so that none can be dropped",
}


def objections_to(sql: str) -> list[str]:
    found = [what for pattern, what in _FORBIDDEN.items() if re.search(pattern, _without_comments(sql), re.IGNORECASE)]
    return found + _squawk(sql)


def _without_comments(sql: str) -> str:
    return re.sub(r"--[^\n]*", "", sql)


def _squawk(sql: str) -> list[str]:
    program = Path(sys.executable).with_name("squawk")
    command = [
        str(program) if program.exists() else shutil.which("squawk") or "squawk",
        "--pg-version=15.0",
        "--assume-in-transaction",
        f"--exclude={','.join(_NOT_OURS)}",
        "--reporter=Gcc",
        "--stdin-filepath=migration.sql",
    ]
    done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if "warning:" in line or "error:" in line]
