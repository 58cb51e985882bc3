import shutil
from pathlib import Path

import pytest
from inventory_api.migrations.apply import downgrade_sql_of, sql_of
from inventory_api.migrations.lint import company_of_what_runs_alone, runs_in_transaction
from inventory_api.migrations.revisions import (
    HISTORIES,
    MIGRATIONS,
    Revision,
    identifiers,
    read_image,
    versions_folder,
)

from tests.cluster.releases.lay_over import lay_over
from tests.unit.api.migration_lint import objections_to, objections_to_downgrade

IMAGE = read_image()
RELEASES = Path(__file__).parents[2] / "cluster" / "releases"


def test_the_histories_are_two_lines_numbered_without_a_gap() -> None:
    assert identifiers(IMAGE.expand) == tuple(f"{number:04}" for number in range(1, len(IMAGE.expand) + 1))
    assert identifiers(IMAGE.contract) == tuple(f"c{number:04}" for number in range(1, len(IMAGE.contract) + 1))


@pytest.mark.parametrize("revision", IMAGE.expand, ids=lambda revision: revision.identifier)
def test_an_expand_migration_breaks_no_running_code(revision: Revision) -> None:
    assert objections_to(sql_of([revision]), revision.running_code_is_unharmed) == []


@pytest.mark.parametrize("revision", [*IMAGE.expand, *IMAGE.contract], ids=lambda revision: revision.identifier)
def test_what_cannot_run_in_a_transaction_is_alone_in_its_migration(revision: Revision) -> None:
    assert company_of_what_runs_alone(sql_of([revision])) == []


def test_what_declares_itself_lossless_can_be_taken_back_under_running_code(tmp_path: Path) -> None:
    migrations = tmp_path / "inventory_api" / "migrations"
    shutil.copytree(MIGRATIONS, migrations)
    lay_over(RELEASES / "tightened", tmp_path)
    lossless = [revision for revision in read_image(migrations).contract if revision.lossless_downgrade]

    objections = {
        revision.identifier: [
            *objections_to_downgrade(downgrade_sql_of(revision), revision.running_code_is_unharmed),
            *company_of_what_runs_alone(downgrade_sql_of(revision)),
        ]
        for revision in lossless
    }

    assert "c9002" in objections
    assert not any(objections.values()), objections


def test_a_contract_migration_needs_an_expand_migration_that_exists() -> None:
    assert {revision.requires_expand for revision in IMAGE.contract} <= set(identifiers(IMAGE.expand))


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE items;",
        "ALTER TABLE items DROP COLUMN name;",
        "ALTER TABLE items DROP name;",
        "ALTER TABLE items RENAME COLUMN name TO title;",
        "ALTER TABLE items RENAME TO things;",
        "ALTER TABLE items ALTER COLUMN quantity TYPE bigint;",
        "ALTER TABLE items ALTER quantity SET DATA TYPE bigint;",
        "ALTER TABLE items ALTER COLUMN on_loan DROP DEFAULT;",
        "ALTER TABLE items ADD COLUMN shelf text, DROP name;",
        "ALTER TABLE ONLY public.items DROP name;",
        "CREATE INDEX items_name_idx ON items (name);",
        "TRUNCATE loans;",
        "CREATE VIEW everything AS SELECT * FROM items;",
        "CREATE OR REPLACE VIEW everything AS SELECT items.* FROM items;",
    ],
)
def test_the_lint_sees_what_would_break_running_code(sql: str) -> None:
    assert objections_to(sql)
    assert objections_to(sql, running_code_is_unharmed="nobody reads it")


MAY_HARM = [
    "ALTER TABLE {} ADD CONSTRAINT named CHECK (name <> '') NOT VALID;",
    "ALTER TABLE {} ADD COLUMN shelf text CHECK (quantity > 0);",
    "ALTER TABLE {} ADD CONSTRAINT shelved FOREIGN KEY (shelf) REFERENCES categories (id) NOT VALID;",
    "ALTER TABLE {} ADD CONSTRAINT one_name UNIQUE USING INDEX items_name_idx;",
    "ALTER TABLE {} ADD CONSTRAINT one_name EXCLUDE (name WITH =) NOT VALID;",
    "ALTER TABLE {} ADD COLUMN shelf text, ALTER COLUMN category_id SET NOT NULL;",
    "ALTER TABLE {} ADD COLUMN price numeric(10, 2) NOT NULL;",
    "ALTER TABLE {} ADD COLUMN price int NOT NULL, ADD COLUMN shelf text DEFAULT '';",
    "ALTER TABLE {} ADD CONSTRAINT named NOT NULL name NOT VALID;",
    "ALTER TABLE {} DROP CONSTRAINT named;",
    "ALTER TABLE {} ENABLE ROW LEVEL SECURITY;",
    "ALTER TABLE {} DISABLE TRIGGER ALL;",
    "CREATE POLICY own ON {} USING (name = current_user);",
    'CREATE UNIQUE INDEX CONCURRENTLY "one_name" ON "{}" (name);',
    "CREATE TRIGGER note BEFORE INSERT OR UPDATE OF name ON {} FOR EACH ROW EXECUTE FUNCTION note();",
    "CREATE RULE nothing AS ON DELETE TO {} DO INSTEAD NOTHING;",
    "LOCK TABLE {} IN SHARE MODE;",
    "UPDATE {} SET name = upper(name) WHERE name <> 'a;b';",
    "WITH old AS (SELECT 1) UPDATE {} SET name = '';",
    "DELETE FROM {} WHERE name = '';",
]


@pytest.mark.parametrize("sql", MAY_HARM)
def test_the_lint_refuses_what_may_harm_running_code_unless_there_is_a_reason_why_it_does_not(sql: str) -> None:
    on_a_table_in_use = sql.format("items")

    assert objections_to(on_a_table_in_use)
    assert not our_objections(on_a_table_in_use, "nobody writes it yet")


@pytest.mark.parametrize("sql", MAY_HARM)
def test_a_table_that_the_migration_makes_may_be_treated_in_any_way(sql: str) -> None:
    assert not our_objections("CREATE TABLE shelves (id bigint PRIMARY KEY); " + sql.format("shelves"))


def our_objections(sql: str, running_code_is_unharmed: str = "") -> list[str]:
    """Without those of squawk, to which no reason counts and no table is new."""
    return [what for what in objections_to(sql, running_code_is_unharmed) if "migration.sql" not in what]


def test_code_that_the_lint_cannot_read_needs_a_reason() -> None:
    block = "DO $$ BEGIN DELETE FROM items; END $$;"

    assert objections_to(block)
    assert not objections_to(block, "it only looks")


def test_a_reason_that_excuses_nothing_is_refused() -> None:
    assert objections_to("ALTER TABLE items ADD COLUMN shelf text;", "it is new") == [
        "running_code_is_unharmed excuses nothing"
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE items ADD COLUMN shelf text;",
        "ALTER TABLE items ADD COLUMN shelf text NOT NULL DEFAULT '';",
        "ALTER TABLE items ADD COLUMN price numeric(10, 2) DEFAULT 0 NOT NULL;",
        "CREATE INDEX CONCURRENTLY items_name_idx ON items (name);",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM loans; END $$;",
        "INSERT INTO categories (name) VALUES ('DROP TABLE'); -- UPDATE items",
        "CREATE TABLE shelves (id bigint PRIMARY KEY);",
        "CREATE VIEW names AS SELECT name FROM items;",
    ],
)
def test_the_lint_lets_pass_what_only_adds(sql: str) -> None:
    assert objections_to(sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE items ADD COLUMN shelf text;",
        "ALTER TABLE items ADD COLUMN shelf text NOT NULL DEFAULT '';",
        "CREATE INDEX CONCURRENTLY items_name_idx ON items (name);",
        "ALTER TABLE items ALTER COLUMN name DROP NOT NULL;",
    ],
)
def test_the_lint_lets_a_downgrade_add_and_loosen(sql: str) -> None:
    assert objections_to_downgrade(sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE items DROP CONSTRAINT named;",
        "ALTER TABLE items DROP COLUMN shelf;",
        "DROP TRIGGER note ON items;",
        "ALTER TABLE items ADD COLUMN price int NOT NULL;",
        "UPDATE items SET shelf = place;",
    ],
)
def test_the_lint_lets_a_downgrade_do_what_the_service_may_notice_only_with_a_reason(sql: str) -> None:
    assert objections_to_downgrade(sql)
    assert not objections_to_downgrade(sql, "nobody relies on it")


def test_a_downgrade_that_brings_nothing_back_is_refused() -> None:
    assert objections_to_downgrade("SET lock_timeout = 0; -- ALTER TABLE items ADD COLUMN shelf text;", "why not")


INDEX = "create_index_concurrently('items_name_idx', 'items', '(name)')"
COLUMN = "op.execute('ALTER TABLE items ADD COLUMN shelf text')"
VACUUM = "with op.get_context().autocommit_block(): op.execute('VACUUM items')"


@pytest.mark.parametrize(
    "body", [[INDEX, COLUMN], [COLUMN, INDEX], [INDEX, INDEX], [VACUUM, COLUMN], [f"{VACUUM}; {COLUMN}"]]
)
def test_the_lint_sees_what_keeps_company_with_what_cannot_run_in_a_transaction(
    tmp_path: Path, body: list[str]
) -> None:
    assert company_of_what_runs_alone(sql_of_migration(tmp_path, body))


@pytest.mark.parametrize("body", [[INDEX], [VACUUM], [COLUMN, COLUMN]])
def test_the_lint_lets_pass_what_is_alone_or_in_one_transaction(tmp_path: Path, body: list[str]) -> None:
    assert company_of_what_runs_alone(sql_of_migration(tmp_path, body)) == []


@pytest.mark.parametrize(("body", "inside"), [([INDEX], False), ([VACUUM], False), ([COLUMN], True), (["pass"], True)])
def test_what_runs_in_a_transaction_is_told_by_its_sql(tmp_path: Path, body: list[str], inside: bool) -> None:
    assert runs_in_transaction(sql_of_migration(tmp_path, body)) == inside


def sql_of_migration(folder: Path, body: list[str]) -> str:
    for history in HISTORIES:
        versions_folder(history, folder).mkdir(parents=True)
    lines = [
        "from alembic import op",
        "from inventory_api.migrations.indexes import create_index_concurrently",
        "revision = '0001'",
        "down_revision = None",
        "def upgrade():",
        *(f"    {line}" for line in body),
    ]
    (versions_folder("expand", folder) / "0001_one.py").write_text("\n".join(lines))
    return sql_of(read_image(folder, ()).expand)
