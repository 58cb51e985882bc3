"""The locks that a migration does not get, and who holds them."""

import re
import textwrap
from dataclasses import dataclass

from sqlalchemy import Connection, text

_HELD = text(
    """
    SELECT virtualtransaction, relname,
           coalesce(nullif(application_name, '') || ' (pid ' || pid || ')', 'pid ' || pid, 'a prepared transaction')
    FROM pg_locks
    JOIN pg_class ON pg_class.oid = relation AND relnamespace = 'public'::regnamespace
    LEFT JOIN pg_stat_activity USING (pid)
    WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND granted AND pid IS DISTINCT FROM pg_backend_pid()
    """
)
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True)
class HeldLock:
    """One transaction's lock on one relation. `session` is for people."""

    transaction: str
    relation: str
    session: str


@dataclass(frozen=True)
class MissedLock:
    """A statement that waited for its lock in vain, and the sessions that were in its way, if they could be seen."""

    statement: str
    held_by: tuple[str, ...]

    def __str__(self) -> str:
        holders = f", held by {', '.join(self.held_by)}" if self.held_by else ""
        return f"`{self.statement}`{holders}"


def held_locks(connection: Connection) -> frozenset[HeldLock]:
    """All locks of other sessions on relations of ours."""
    return frozenset(HeldLock(*row) for row in connection.execute(_HELD).all())


def missed_lock(statement: str, before: frozenset[HeldLock], after: frozenset[HeldLock]) -> MissedLock:
    """Only who held a lock on one of the statement's relations for all of the wait can have been in its way.

    Whoever queued behind the statement holds one afterwards, too, which it had not had before.
    """
    held_by = {
        lock.session
        for lock in before & after
        if re.search(rf"\b{re.escape(lock.relation)}\b", statement, re.IGNORECASE)
    }
    return MissedLock(textwrap.shorten(statement, _SHOWN_CHARACTERS, placeholder="…"), tuple(sorted(held_by)))
