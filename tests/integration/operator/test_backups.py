"""The programs of the Jobs that back up to a volume and restore from it, on a real PostgreSQL."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from inventory_operator import job_manifests
from inventory_operator.actions import CreateJob
from inventory_operator.model import App, Migrations

from tests.integration.stores import OWNER, SERVICE, Postgres

APP = App(
    "shop", "inventory", "uid-1", 1, {"image": "a:1"}, migrations=Migrations("owner", backup={"volumeClaim": "dumps"})
)
BACKUP = CreateJob("abc", 7, 1, "a:1", step="backup3", arguments=(), job={})
REFERENCE = "dumps/inventory-7-3.dump"
RESTORE = replace(BACKUP, step="restore4", job={"reference": REFERENCE})


class Volume:
    """Runs a Job's container as a process, its paths in a folder of this machine."""

    def __init__(self, postgres: Postgres, database: str, folder: Path) -> None:
        self._postgres, self._database = postgres, database
        self._places = {"/tmp/": "tmp/", "/backups": "backups", "/dev/termination-log": "termination-log"}
        self.folder = folder
        for name in ("backups", "tmp"):
            (folder / name).mkdir()

    def run(self, action: CreateJob) -> subprocess.CompletedProcess[str]:
        container = job_manifests.job(APP, action)["spec"]["template"]["spec"]["containers"][0]
        program, option, script = container["command"]
        for place, name in self._places.items():
            script = script.replace(place, f"{self.folder}/{name}")
        given = {each["name"]: each["value"] for each in container["env"]}
        given["INVENTORY_MIGRATION_DATABASE_URL"] = self._postgres.url(self._database, OWNER)
        given["PATH"] = f"{self._postgres.program('psql').parent}:{os.environ['PATH']}"
        return subprocess.run([program, option, script], env=given, capture_output=True, text=True, check=False)

    def files(self) -> set[str]:
        return {path.name for path in (self.folder / "backups").iterdir()}

    @property
    def last_words(self) -> str:
        return (self.folder / "termination-log").read_text()


def schema(postgres: Postgres, database: str) -> str:
    words: list[Any] = [postgres.program("pg_dump"), "--schema-only", "--restrict-key=k", postgres.url(database)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_a_restore_brings_back_schema_rows_and_rights_whatever_has_come_since(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    volume = Volume(postgres, database, tmp_path)
    postgres.execute("INSERT INTO categories (name) VALUES ('Tools')", database=database)
    before = schema(postgres, database)
    history = postgres.execute("SELECT * FROM schema_history ORDER BY id", database=database)

    backed_up = volume.run(BACKUP)
    assert backed_up.returncode == 0, backed_up.stderr
    assert volume.last_words == REFERENCE
    # What a contract takes away, and what later expands add: a restore must get rid of the second, too.
    postgres.execute(
        """
        DELETE FROM categories;
        ALTER TABLE items DROP COLUMN description;
        CREATE TABLE shelves (id int PRIMARY KEY, item int REFERENCES items);
        CREATE VIEW shelved AS SELECT item FROM shelves;
        CREATE TYPE colour AS ENUM ('red');
        ALTER TABLE items ADD COLUMN colour colour;
        CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
        """,
        database=database,
        role=OWNER,
    )
    restored = volume.run(RESTORE)

    assert restored.returncode == 0, restored.stderr
    assert volume.last_words == REFERENCE
    assert schema(postgres, database) == before
    assert postgres.execute("SELECT * FROM schema_history ORDER BY id", database=database) == history
    assert postgres.execute("SELECT name FROM categories", database=database, role=SERVICE) == [("Tools",)]


def test_a_restore_that_fails_on_its_way_leaves_everything_as_it_was(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    volume = Volume(postgres, database, tmp_path)
    assert volume.run(BACKUP).returncode == 0
    postgres.execute("INSERT INTO categories (name) VALUES ('Tools')", database=database)
    before = schema(postgres, database)
    dump = tmp_path / "backups" / "inventory-7-3.dump"
    dump.write_bytes(dump.read_bytes()[:-2000])

    ended = volume.run(RESTORE)

    assert ended.returncode != 0
    assert "pg_restore: error" in ended.stderr
    assert schema(postgres, database) == before
    assert postgres.execute("SELECT name FROM categories", database=database) == [("Tools",)]


def test_a_backup_that_fails_leaves_no_file_that_looks_like_one(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    volume = Volume(postgres, database, tmp_path)
    postgres.execute("CREATE TABLE foreign_to_it (id int)", database=database)

    ended = volume.run(BACKUP)

    assert ended.returncode != 0
    assert "permission denied for table foreign_to_it" in ended.stderr.splitlines()[-1]
    assert volume.files() <= {"inventory-7-3.dump.partial"}


def test_what_does_not_belong_to_the_owner_of_the_schema_stays(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    volume = Volume(postgres, database, tmp_path)
    assert volume.run(BACKUP).returncode == 0
    postgres.execute("CREATE TABLE somebody_elses (id int)", database=database)

    ended = volume.run(RESTORE)

    assert ended.returncode == 0, ended.stderr
    assert "somebody_elses" in postgres.tables(database)


def test_an_extension_that_an_administrator_has_made_is_no_obstacle(
    postgres: Postgres, empty_database: str, tmp_path: Path
) -> None:
    postgres.execute("CREATE EXTENSION pg_trgm", database=empty_database)
    postgres.expand(empty_database)
    before = schema(postgres, empty_database)
    volume = Volume(postgres, empty_database, tmp_path)
    assert volume.run(BACKUP).returncode == 0

    ended = volume.run(RESTORE)

    assert ended.returncode == 0, ended.stderr
    assert schema(postgres, empty_database) == before
