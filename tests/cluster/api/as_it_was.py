"""Makes the stores again what they were when this began, for each line that comes in. It runs in a pod of the service.

The API's tests have a database each where the service runs in their process. An installed one keeps its database, and
gets it emptied.
"""

import os
import sys
from typing import Any

import psycopg2
import redis

_TABLES = """
    SELECT relname, string_agg(quote_ident(attname), ',' ORDER BY attnum)
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
      AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    GROUP BY relname
"""
_SEQUENCES = """
    SELECT format('SELECT setval(%L, %s, %L)', quote_ident(schemaname) || '.' || quote_ident(sequencename),
                  coalesce(last_value, start_value), last_value IS NOT NULL)
    FROM pg_sequences WHERE schemaname = 'public'
"""


def remember(cursor: Any) -> str:
    """The statements that bring all of it back."""
    cursor.execute(_TABLES)
    tables = cursor.fetchall()
    cursor.execute("CREATE SCHEMA kept")
    statements = []
    for table, columns in tables:
        here, kept = f'public."{table}"', f'kept."{table}"'
        cursor.execute(f"CREATE TABLE {kept} AS TABLE {here}")
        statements.append(f"DELETE FROM {here}")  # noqa: S608 - the names are the database's own
        if cursor.rowcount:
            rows = f"SELECT {columns} FROM {kept}"  # noqa: S608 - as above
            statements.append(f"INSERT INTO {here} ({columns}) OVERRIDING SYSTEM VALUE {rows}")
    cursor.execute(_SEQUENCES)
    return "; ".join([*statements, *(statement for (statement,) in cursor)])


def main() -> None:
    cache = redis.Redis.from_url(os.environ["INVENTORY_REDIS_URL"])
    with psycopg2.connect(sys.stdin.readline().strip()) as connection, connection.cursor() as cursor:
        # Neither a foreign key nor a rule about what may be deleted is in the way, and no disk is waited for.
        cursor.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        statements = remember(cursor)
        connection.commit()
        print("remembered", flush=True)
        for _ in sys.stdin:
            cursor.execute(statements)
            connection.commit()
            cache.flushall()
            print("as it was", flush=True)
        cursor.execute("DROP SCHEMA kept CASCADE")


if __name__ == "__main__":
    main()
