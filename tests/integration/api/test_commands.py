import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.integration.api.services import EMAIL, PASSWORD, served
from tests.integration.conditions import PATIENCE_SECONDS, eventually
from tests.integration.ports import free_port
from tests.integration.stores import SERVICE, Postgres


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inventory_api", *arguments]
    given = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, input=stdin, env=given, capture_output=True, text=True, check=False)


def test_smoke_lends_an_item_and_takes_it_back(postgres: Postgres, database: str) -> None:
    with served(postgres.url(database, SERVICE)) as service:
        admin = {"INVENTORY_ADMIN_EMAIL": EMAIL, "INVENTORY_ADMIN_PASSWORD": PASSWORD}
        good = run("smoke", "--url", service.url, **admin)
        bad = run("smoke", "--url", service.url, **{**admin, "INVENTORY_ADMIN_PASSWORD": "wrong"})
    away = run("smoke", "--url", service.url, **admin)

    assert (good.returncode, good.stderr) == (0, "")
    assert "took it back" in good.stdout
    assert (bad.returncode, "answered with 401" in bad.stderr) == (1, True)
    assert (away.returncode, "was not answered" in away.stderr) == (1, True)
    assert "Traceback" not in bad.stderr + away.stderr


def test_an_admin_is_created_by_command(postgres: Postgres, database: str) -> None:
    environment = {"INVENTORY_DATABASE_URL": postgres.url(database, SERVICE), "INVENTORY_SECRET_KEY": "k" * 32}

    first = run("create-admin", "Boss@example.com", stdin="long enough\n", **environment)
    again = run("create-admin", "boss@example.com", stdin="long enough\n", **environment)
    short = run("create-admin", "other@example.com", stdin="short\n", **environment)

    assert first.returncode == 0, first.stderr
    assert postgres.execute("SELECT email, role FROM users", database=database) == [("boss@example.com", "admin")]
    assert (again.returncode, "already" in again.stderr) == (1, True)
    assert (short.returncode, "password" in short.stderr) == (2, True)


def test_serve_lists_what_is_missing_and_does_not_start() -> None:
    done = run("serve")

    assert done.returncode == 2
    assert "INVENTORY_DATABASE_URL: is required" in done.stderr
    assert "INVENTORY_SECRET_KEY: is required" in done.stderr
    assert "Traceback" not in done.stderr


def test_openapi_prints_the_contract() -> None:
    document = json.loads(run("openapi").stdout)

    operations = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert {"sign_in", "create_item", "check_out", "return_loan"} <= operations
    assert not {"/livez", "/readyz", "/metrics"} & set(document["paths"])


class FirstLook:
    """`inventory-api dev`, with all that it makes below one folder."""

    def __init__(self, folder: Path, wrapper: Sequence[str]) -> None:
        self.port = free_port()
        self._folder = folder
        with (folder / "log").open("w") as output:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "inventory_api", "dev", "--port", str(self.port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
                # Whoever runs the tests under nohup has the signal ignored, and all that they start inherits that.
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
            )

    def await_words(self, words: str) -> None:
        # Of all that is started at the same time, PostgreSQL creates one cluster after the other.
        eventually(lambda: self.says(words), seconds=60)

    def says(self, words: str) -> bool:
        return words in self.log()

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def left_over(self) -> list[str]:
        """Files, and processes that know of the folder."""
        files = [path.name for kind in ("inventory-dev-*", "valkey-*") for path in self._folder.glob(kind)]
        return files + [str(process) for process in self._processes()]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for process in self._processes():
            os.kill(process, signal.SIGKILL)

    def _processes(self) -> Iterator[int]:
        for process in Path("/proc").glob("[0-9]*"):
            # It may have ended meanwhile.
            with suppress(OSError):
                # Valkey, once it runs, no longer says with which file it was started; but where it works.
                known = (process / "cmdline").read_text(errors="replace"), str((process / "cwd").readlink())
                if any(str(self._folder) in each for each in known):
                    yield int(process.name)


@contextmanager
def looking(*wrapper: str) -> Iterator[FirstLook]:
    # pytest's folders have longer names than a socket may have.
    with tempfile.TemporaryDirectory(prefix="look-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        look = FirstLook(Path(folder), wrapper)
        try:
            yield look
        finally:
            look.end()


@pytest.fixture
def first_look() -> Iterator[FirstLook]:
    with looking() as look:
        yield look


def test_dev_gives_a_first_look_and_leaves_nothing_behind(first_look: FirstLook) -> None:
    first_look.await_words(" ready")
    password = re.search(r'"password": "(.+?)"', first_look.log())
    assert password is not None
    url = f"http://127.0.0.1:{first_look.port}"
    with urlopen(f"{url}/") as answer:
        assert json.load(answer)["name"] == "inventory"
    admin = {"INVENTORY_ADMIN_EMAIL": "admin@example.com", "INVENTORY_ADMIN_PASSWORD": password[1]}
    done = run("smoke", "--url", url, **admin)

    first_look.process.send_signal(signal.SIGINT)

    assert done.returncode == 0, done.stderr
    assert (first_look.process.wait(PATIENCE_SECONDS), first_look.left_over()) == (0, [])


@pytest.mark.parametrize(
    ("moment", "told", "codes"),
    [
        ("Valkey start", signal.SIGHUP, {143}),
        ("Valkey start", signal.SIGTERM, {143}),
        ("migration starts", signal.SIGTERM, {143, 0}),
        (" ready", signal.SIGHUP, {0}),
    ],
)
def test_dev_leaves_nothing_behind_whenever_and_however_it_is_ended(
    first_look: FirstLook, moment: str, told: signal.Signals, codes: set[int]
) -> None:
    first_look.await_words(moment)

    first_look.process.send_signal(told)

    assert first_look.process.wait(PATIENCE_SECONDS) in codes, first_look.log()
    assert first_look.left_over() == []
    assert not first_look.says("Traceback")


def test_dev_outlives_its_terminal_under_nohup() -> None:
    with looking("nohup") as first_look:
        first_look.await_words(" ready")
        first_look.process.send_signal(signal.SIGHUP)
        with urlopen(f"http://127.0.0.1:{first_look.port}/livez") as answer:
            assert answer.status == 200
        first_look.process.send_signal(signal.SIGTERM)

        assert (first_look.process.wait(PATIENCE_SECONDS), first_look.left_over()) == (0, [])


@pytest.mark.parametrize("moment", ["catches the signal", "listens"])
def test_serve_ends_on_the_first_sigterm_however_early_it_comes(moment: str) -> None:
    port = free_port()
    environment = {"INVENTORY_DATABASE_URL": "postgresql://127.0.0.1:1/none", "INVENTORY_SECRET_KEY": "k" * 32}
    command = [sys.executable, "-m", "inventory_api", "serve", "--port", str(port)]
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: catches_sigterm(process.pid) if moment == "catches the signal" else is_taken(port))
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()

    assert code in (0, 143)


def catches_sigterm(process: int) -> bool:
    """Only then would the kernel hand a SIGTERM to a container's first process."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) & 1 << signal.SIGTERM - 1)


def is_taken(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True
