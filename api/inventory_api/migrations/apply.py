"""Has Alembic apply revisions, each with its row in `schema_history` and its grants in the same transaction."""

import io
import time
from collections.abc import Callable, Sequence
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection, insert

from inventory_api.migrations.grants import grant_to_service
from inventory_api.migrations.history import schema_history, version_table
from inventory_api.migrations.revisions import MIGRATIONS, History, Revision
from inventory_api.migrations.session import transactional


def apply_revision(
    connection: Connection, revision: Revision, release: str, service_role: str, before_commit: Callable[[], None]
) -> None:
    """Applies one revision whose predecessors are applied. Raises what the database raises, with all rolled back.

    The service's rights come with it: running code may reach a new table at once, by a trigger or a default.
    """
    started = time.perf_counter()

    def record(ctx: MigrationContext, step: MigrationInfo, heads: set[str], run_args: dict[str, Any]) -> None:
        if ctx.connection is None:
            raise RuntimeError("Alembic runs without a connection")
        ctx.connection.execute(
            insert(schema_history).values(
                revision=revision.identifier,
                history=revision.history,
                direction="up" if step.is_upgrade else "down",
                checksum=revision.checksum,
                release=release,
                seconds=time.perf_counter() - started,
            )
        )
        grant_to_service(ctx.connection, service_role)
        before_commit()

    config = _config(revision)
    config.attributes["connection"] = connection
    config.attributes["configure"] = {**_options(revision.history), "on_version_apply": record}
    with transactional(connection):
        command.upgrade(config, revision.identifier)


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
