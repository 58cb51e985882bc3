"""Has Alembic apply a revision or take it back, with its history row and its grants in the same transaction."""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection, insert, update

from inventory_api.migrations.grants import grant_to_service
from inventory_api.migrations.history import schema_history, schema_owner, version_table
from inventory_api.migrations.revisions import MIGRATIONS, History, Revision
from inventory_api.migrations.session import transactional

Direction = Literal["up", "down"]


@dataclass(frozen=True)
class Step:
    """One revision to apply, or to take back."""

    revision: Revision
    direction: Direction

    def __str__(self) -> str:
        what = "migration" if self.direction == "up" else "downgrade of migration"
        return f"{what} {self.revision.identifier}"


def take_step(
    connection: Connection, step: Step, release: str, service_role: str, before_commit: Callable[[], None]
) -> None:
    """Applies a revision whose predecessors are applied, or takes back one whose successors aren't.

    Raises what the database raises, with all rolled back. The service's rights come with it: running code may reach a
    new table at once, by a trigger or a default.
    """
    revision, direction = step.revision, step.direction
    started = time.perf_counter()

    def record(ctx: MigrationContext, step: MigrationInfo, heads: set[str], run_args: dict[str, Any]) -> None:
        if ctx.connection is None:
            raise RuntimeError("Alembic runs without a connection")
        ctx.connection.execute(
            insert(schema_history).values(
                revision=revision.identifier,
                history=revision.history,
                direction=direction,
                checksum=revision.checksum,
                release=release,
                seconds=time.perf_counter() - started,
            )
        )
        if direction == "down":
            # Not even on a fresh database does it come again by itself.
            ctx.connection.execute(update(schema_owner).values(contract_follows=False))
        grant_to_service(ctx.connection, service_role)
        before_commit()

    config = _config(revision)
    config.attributes["connection"] = connection
    config.attributes["configure"] = {**_options(revision.history), "on_version_apply": record}
    with transactional(connection):
        if direction == "up":
            command.upgrade(config, revision.identifier)
        else:
            command.downgrade(config, revision.down or "base")


def sql_of(revisions: Sequence[Revision]) -> str:
    """The SQL of neighbouring revisions of one history, without touching a database."""
    if not revisions:
        return ""
    first, last = revisions[0], revisions[-1]
    buffer = io.StringIO()
    config = _config(first, buffer)
    config.attributes["configure"] = _options(first.history)
    command.upgrade(config, f"{first.down or 'base'}:{last.identifier}", sql=True)
    return buffer.getvalue()


def downgrade_sql_of(revision: Revision) -> str:
    """The SQL that takes one revision back, without touching a database."""
    buffer = io.StringIO()
    config = _config(revision, buffer)
    config.attributes["configure"] = _options(revision.history)
    command.downgrade(config, f"{revision.identifier}:{revision.down or 'base'}", sql=True)
    return buffer.getvalue()


def _config(revision: Revision, output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output) if output else Config()
    for option, value in {
        "script_location": MIGRATIONS,
        "version_locations": revision.path.parent,
        "path_separator": "newline",
    }.items():
        config.set_main_option(option, str(value).replace("%", "%%"))
    return config


def _options(history: History) -> dict[str, Any]:
    return {"version_table": version_table(history), "transaction_per_migration": True}
