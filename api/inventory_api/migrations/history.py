"""The migrations' own records in the database: `schema_history` and the owner row."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Identity,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import distinct_on

from inventory_api.migrations.revisions import HISTORIES, History
from inventory_api.migrations.rule import DatabaseSchema

records = MetaData()

schema_history = Table(
    "schema_history",
    records,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("revision", Text, nullable=False),
    Column("history", Text, CheckConstraint("history in ('expand', 'contract')"), nullable=False),
    Column("direction", Text, CheckConstraint("direction in ('up', 'down')"), nullable=False),
    Column("checksum", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("ended_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("seconds", Double, nullable=False),
)

# One row at most. `app_uid` is empty until a run on behalf of an InventoryApp claims the database;
# `contract_follows` stays true from the first install on an empty database until its contract migrations are done.
schema_owner = Table(
    "schema_owner",
    records,
    Column("one_row", Boolean, CheckConstraint("one_row"), primary_key=True, server_default="true"),
    Column("app_uid", Text, nullable=False),
    Column("contract_follows", Boolean, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


@dataclass(frozen=True)
class AppliedRevision:
    """A revision whose last row in `schema_history` is up, and the release that applied it."""

    identifier: str
    history: History
    checksum: str
    release: str


def version_table(history: History) -> str:
    """Alembic's own table of a history. Alembic insists on one; decisions are taken from `schema_history`."""
    return f"alembic_version_{history}"


ALEMBIC_TABLES = tuple(version_table(history) for history in HISTORIES)
RECORD_TABLES = (schema_history.name, schema_owner.name, *ALEMBIC_TABLES)


def select_applied() -> Select[tuple[str, str, str, str, str]]:
    """Each revision's last row, whatever its direction; for `applied_revisions`."""
    columns = schema_history.c
    return (
        select(columns.revision, columns.history, columns.direction, columns.checksum, columns.release)
        .ext(distinct_on(columns.revision))
        .order_by(columns.revision, columns.id.desc())
    )


def applied_revisions(rows: Iterable[Row[Any]]) -> tuple[AppliedRevision, ...]:
    return tuple(
        AppliedRevision(row.revision, row.history, row.checksum, row.release) for row in rows if row.direction == "up"
    )


def database_schema(applied: Iterable[AppliedRevision]) -> DatabaseSchema:
    by_history: dict[History, list[str]] = {history: [] for history in HISTORIES}
    for revision in applied:
        by_history[revision.history].append(revision.identifier)
    return DatabaseSchema(tuple(sorted(by_history["expand"])), tuple(sorted(by_history["contract"])))
