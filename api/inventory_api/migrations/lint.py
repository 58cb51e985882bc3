"""What a migration may not do to the code that runs while it is applied.

For the tests, and for who looks at a plan; the service never asks it.
"""

import re
from collections.abc import Collection, Iterator

from inventory_api.migrations.history import ALEMBIC_TABLES

_TABLE = r"(?:IF EXISTS )?(?:ONLY )?(?:\w+\.)?(?P<table>\w+)\b"
_ALTER = rf"^ALTER TABLE {_TABLE}"

# What an expand migration never does: it belongs into a contract.
_REMOVES = {
    r"\bDROP (TABLE|COLUMN|VIEW|MATERIALIZED|TYPE|SEQUENCE|FUNCTION|SCHEMA|TRIGGER|DEFAULT)\b": "drops something",
    rf"{_ALTER} DROP (?!CONSTRAINT\b)": "drops something",
    r"\bRENAME\b": "renames something",
    rf"{_ALTER} ALTER (COLUMN )?\S+ (SET DATA )?TYPE\b": "changes a type",
    r"^TRUNCATE\b": "removes rows",
    r"^REVOKE\b": "takes a right away",
    r"^CREATE\b.*\bVIEW\b.*\bSELECT (\w+\.)?\*": "makes a view of all columns, so that none can be dropped",
}

# To a table that is in use this may do harm, and does none to one that the same migration makes. NOT VALID is no help:
# it spares the old rows, not those that running code writes.
_MAY_HARM = {
    rf"{_ALTER} .*\bCHECK\b": "checks the rows that running code writes",
    rf"{_ALTER} .*\b(FOREIGN KEY|REFERENCES)\b": "ties rows that running code writes or removes to others",
    rf"{_ALTER} .*\b(UNIQUE|PRIMARY KEY|EXCLUDE)\b": "refuses rows that running code may write",
    rf"^CREATE UNIQUE INDEX\b.* ON {_TABLE}": "refuses rows that running code may write",
    rf"{_ALTER} .*\bSET NOT NULL\b": "tightens a column",
    rf"{_ALTER} DROP CONSTRAINT\b": "gives up what running code may rely on",
    rf"{_ALTER} ADD (?!.*\b(DEFAULT|GENERATED)\b).*\bNOT NULL\b": "demands a value that running code doesn't write",
    rf"{_ALTER} (ENABLE|DISABLE|FORCE)\b": "switches row security or a trigger",
    rf"^CREATE POLICY \w+ ON {_TABLE}": "hides rows from running code",
    rf"^CREATE (OR REPLACE )?(CONSTRAINT )?TRIGGER\b.* ON {_TABLE}": "runs a trigger on what running code writes",
    rf"^CREATE (OR REPLACE )?RULE\b.* TO {_TABLE}": "rewrites what running code does",
    rf"^LOCK (TABLE )?{_TABLE}": "locks running code out",
    rf"^(WITH\b.*\b)?(UPDATE|DELETE FROM|MERGE INTO) {_TABLE}": "holds the rows it changes until it is done",
    r"^DO\b": "runs code that can't be read here",
}

_COMMENT = r"--[^\n]*|/\*.*?\*/"
_LITERAL = r"\bE'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"


def objections_to(sql: str, running_code_is_unharmed: str = "") -> list[str]:
    """Why running code would notice an expand migration.

    `running_code_is_unharmed` is the migration's reason why what may do harm does none.
    """
    return [*removed_by(sql), *_unless_excused(harm_of(sql), running_code_is_unharmed)]


def objections_to_downgrade(sql: str, running_code_is_unharmed: str = "") -> list[str]:
    """Why running code would notice that a contract migration is taken back: the release that has it serves meanwhile.

    A downgrade may have to drop what the contract has made, so there may be a reason for all of it.
    """
    return _unless_excused([*removed_by(sql), *harm_of(sql)], running_code_is_unharmed)


def removed_by(sql: str) -> list[str]:
    """What an expand migration never does."""
    return [what for part in _all_parts(sql) for what in _found(_REMOVES, part, ())]


def harm_of(sql: str) -> list[str]:
    """What may harm running code, and does not if there is a reason."""
    parts = _all_parts(sql)
    own_tables = {*ALEMBIC_TABLES, *_created_tables(parts)}
    return [what for part in parts for what in _found(_MAY_HARM, part, own_tables)]


def runs_in_transaction(sql: str) -> bool:
    return all(inside for inside, _ in _own_statements(sql))


def company_of_what_runs_alone(sql: str) -> list[str]:
    """The statements of a migration that has any outside a transaction, if there are more than that one.

    Those before it are not rolled back with it, and after a crash all of them run again.
    """
    company = [statement for _, statement in _own_statements(sql)]
    return company if len(company) > 1 and not runs_in_transaction(sql) else []


def does_nothing(sql: str) -> bool:
    return not list(_own_statements(sql))


def _own_statements(sql: str) -> Iterator[tuple[bool, str]]:
    """Whether it is in a transaction, and the statement; without those of Alembic and of the session's settings."""
    in_transaction = False
    for statement in _statements(sql):
        if statement in ("BEGIN", "COMMIT"):
            in_transaction = statement == "BEGIN"
        elif not re.match(r"(SET|RESET)\b", statement) and not any(table in statement for table in ALEMBIC_TABLES):
            yield in_transaction, statement


def _unless_excused(objections: list[str], reason: str) -> list[str]:
    if not reason:
        return objections
    return [] if objections else ["running_code_is_unharmed excuses nothing"]


def _all_parts(sql: str) -> list[str]:
    return [part for statement in _statements(sql) for part in _parts(statement)]


def _statements(sql: str) -> list[str]:
    """Without comments, and with nothing in literals that could be taken for SQL."""
    bare = re.sub(_COMMENT + "|" + _LITERAL, _emptied, sql, flags=re.DOTALL | re.IGNORECASE)
    return [" ".join(statement.split()) for statement in bare.replace('"', "").split(";") if statement.strip()]


def _emptied(match: re.Match[str]) -> str:
    return " " if match[0].startswith(("--", "/*")) else "''"


def _parts(statement: str) -> list[str]:
    """Each action of an ALTER TABLE as a statement of its own."""
    table = re.match(_ALTER, statement, re.IGNORECASE)
    if not table:
        return [statement]
    actions, count = statement[table.end() :], 1
    while count:
        actions, count = re.subn(r"\([^()]*\)", "", actions)
    return [f"{table[0]} {action.strip()}" for action in actions.split(",")]


def _created_tables(parts: list[str]) -> set[str]:
    created = (re.match(rf"CREATE (?:\w+ )?TABLE {_TABLE}", part, re.IGNORECASE) for part in parts)
    return {match["table"] for match in created if match}


def _found(rules: dict[str, str], part: str, own_tables: Collection[str]) -> list[str]:
    matches = ((re.search(pattern, part, re.IGNORECASE), what) for pattern, what in rules.items())
    return [what for match, what in matches if match and match.groupdict().get("table") not in own_tables]
