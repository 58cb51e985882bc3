import subprocess
import sys

OPTIONAL = [
    "alembic",
    "inventory_api.migrations.lint",
    "opentelemetry.exporter",
    "opentelemetry.sdk.trace",
    "psycopg2",
    "requests",
    "sentry_sdk",
]
LOADED = f"""
import sys
from inventory_api import server
from inventory_api.app import openapi_document

openapi_document()
print(*(name for name in {OPTIONAL} if name in sys.modules))
"""


def test_what_a_service_was_not_told_to_use_is_not_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
