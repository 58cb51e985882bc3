"""The page for callers: its commands work as they stand, and its example is what the service says."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.api.services import EMAIL, PASSWORD, served
from tests.integration.stores import SERVICE, Postgres

PAGE = Path(__file__).parents[3] / "docs" / "import-export.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def service(postgres: Postgres, database: str) -> Iterator[str]:
    with served(postgres.url(database, SERVICE)) as service:
        yield service.url


def test_the_commands_of_the_page_work(service: str, tmp_path: Path) -> None:
    token = httpx.post(f"{service}/api/v1/auth/token", json={"email": EMAIL, "password": PASSWORD}).json()
    auth = {"Authorization": f"Bearer {token['access_token']}"}
    (tmp_path / "items.csv").write_text(blocks("csv")[0])

    def run(script: str) -> str:
        environment = {"URL": service, "AUTH": f"Authorization: {auth['Authorization']}", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            ["bash", "-ec", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    imports, exports, labels = blocks("sh")
    told = run(imports)
    dry_run, end = json.JSONDecoder().raw_decode(told)
    assert dry_run == json.loads(blocks("json")[0])
    assert json.loads(told[end:])["created"] == 2
    run(exports)
    # The page's ids are made up.
    run(labels.replace("items/12", "items/1").replace("=12", "=1").replace("=13", "=2"))

    assert (tmp_path / "items.csv").read_text().count("Cordless drill") == 1
    assert (tmp_path / "overdue.jsonl").read_text() == ""
    assert (tmp_path / "label.svg").read_text().startswith("<svg")
    assert (tmp_path / "labels.html").read_text().count("<svg xmlns") == 3
