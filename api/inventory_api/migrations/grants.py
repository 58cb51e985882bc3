"""What the service's role may do: read and write rows, never the schema and never the migrations' records."""

from sqlalchemy import Connection, text

from inventory_api.migrations.history import RECORD_TABLES, schema_history

_OWNED_RELATIONS = text(
    """
    SELECT relname, relkind = 'S' AS is_sequence FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relowner = current_user::regrole
      AND relkind IN ('r', 'p', 'v', 'm', 'S')
    ORDER BY relname
    """
)


def grant_to_service(connection: Connection, role: str) -> None:
    """Grants what the role needs on everything that the migrating role owns. Repeating it changes nothing."""
    if role == connection.scalar(text("SELECT current_user")):
        return
    quote = connection.dialect.identifier_preparer.quote
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {quote(role)}"))
    for relation, is_sequence in connection.execute(_OWNED_RELATIONS).all():
        target = f"{'SEQUENCE' if is_sequence else 'TABLE'} public.{quote(relation)}"
        if relation.startswith(RECORD_TABLES):
            # The database may have default privileges that give more away.
            connection.execute(text(f"REVOKE ALL ON {target} FROM {quote(role)}"))
        privileges = _privileges(relation, is_sequence)
        if privileges:
            connection.execute(text(f"GRANT {privileges} ON {target} TO {quote(role)}"))


def _privileges(relation: str, is_sequence: bool) -> str:
    if relation == schema_history.name:
        return "SELECT"
    if relation.startswith(RECORD_TABLES):
        return ""
    return "USAGE, SELECT" if is_sequence else "SELECT, INSERT, UPDATE, DELETE"
