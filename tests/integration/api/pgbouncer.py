"""A PgBouncer in front of a server, if one is installed (`apt-get install pgbouncer`)."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conditions import eventually, is_listening
from tests.integration.ports import free_port
from tests.integration.stores import SERVICE, Postgres

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
needed = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer on this machine")


@contextmanager
def pgbouncer(server: Postgres, database: str, connections: int) -> Iterator[str]:
    """The service's URL through it: transaction pooling, with its default refusal of unknown startup parameters."""
    assert PROGRAM is not None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder:
        Path(folder).chmod(0o755)
        (users := Path(folder, "users")).write_text(f'"{SERVICE}" ""\n')
        (settings := Path(folder, "ini")).write_text(
            f"""
[databases]
* = host={server.sockets} port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {connections}
"""
        )
        # It refuses to run as root, and may have to be who may open the server's socket.
        with subprocess.Popen([PROGRAM, "-q", settings], user=server.account, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(lambda: is_listening(port))
                yield f"postgresql://{SERVICE}@127.0.0.1:{port}/{database}"
            finally:
                process.kill()
