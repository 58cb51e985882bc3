"""Building an index without stopping writes, for a migration that does nothing else."""

from alembic import op
from sqlalchemy import text


def create_index_concurrently(name: str, table: str, definition: str, *, unique: bool = False) -> None:
    """Creates the index, and may be run again after a crash: an invalid left-over of a broken attempt goes first.

    `definition` is what follows the table's name, as in `(due_at) WHERE returned_at IS NULL`. The statement can't run
    in a transaction, so the migration's row is written after it; that is why it must be alone in its file.
    """
    context = op.get_context()
    with context.autocommit_block():
        # It waits for every older transaction, and blocks nobody while it does.
        op.execute("SET lock_timeout = 0")
        if not context.as_sql and _is_invalid(name):
            op.execute(f'DROP INDEX CONCURRENTLY "{name}"')
        kind = "UNIQUE INDEX" if unique else "INDEX"
        op.execute(f'CREATE {kind} CONCURRENTLY IF NOT EXISTS "{name}" ON "{table}" {definition}')
        op.execute("RESET lock_timeout")


def _is_invalid(name: str) -> bool:
    query = text("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(quote_ident(:name)) AND NOT indisvalid")
    return op.get_bind().execute(query, {"name": name}).scalar() is not None
