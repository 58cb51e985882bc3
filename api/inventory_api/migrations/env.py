"""Alembic's environment, for `apply.py`; not meant for the `alembic` command, which knows nothing of the rules."""

from alembic import context

options = context.config.attributes
if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, **options["configure"])
else:
    context.configure(connection=options["connection"], **options["configure"])
with context.begin_transaction():
    context.run_migrations()
