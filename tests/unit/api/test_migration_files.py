import pytest
from inventory_api.migrations.apply import sql_of
from inventory_api.migrations.revisions import Revision, identifiers, read_image

from tests.unit.api.migration_lint import objections_to

IMAGE = read_image()


def test_the_histories_are_two_lines_numbered_without_a_gap() -> None:
    assert identifiers(IMAGE.expand) == tuple(f"{number:04}" for number in range(1, len(IMAGE.expand) + 1))
    assert identifiers(IMAGE.contract) == tuple(f"c{number:04}" for number in range(1, len(IMAGE.contract) + 1))


@pytest.mark.parametrize("revision", IMAGE.expand, ids=lambda revision: revision.identifier)
def test_an_expand_migration_breaks_no_running_code(revision: Revision) -> None:
    assert objections_to(sql_of([revision])) == []


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
        "ALTER TABLE items ALTER COLUMN category_id SET NOT NULL;",
        "ALTER TABLE items ALTER COLUMN on_loan DROP DEFAULT;",
        "ALTER TABLE items ADD COLUMN shelf text NOT NULL;",
        "ALTER TABLE items ADD CONSTRAINT named CHECK (name <> '');",
        "ALTER TABLE items ADD CONSTRAINT one_name UNIQUE (name);",
        "CREATE INDEX items_name_idx ON items (name);",
        "DELETE FROM loans;",
        "TRUNCATE loans;",
        "CREATE VIEW everything AS SELECT * FROM items;",
        "CREATE OR REPLACE VIEW everything AS SELECT items.* FROM items;",
    ],
)
def test_the_lint_sees_what_would_break_running_code(sql: str) -> None:
    assert objections_to(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE items ADD COLUMN shelf text;",
        "ALTER TABLE items ADD COLUMN shelf text NOT NULL DEFAULT '';",
        "ALTER TABLE items ADD CONSTRAINT named CHECK (name <> '') NOT VALID;",
        "CREATE TABLE shelves (id bigint PRIMARY KEY);",
        "CREATE VIEW names AS SELECT name FROM items;",
    ],
)
def test_the_lint_lets_pass_what_only_adds(sql: str) -> None:
    assert objections_to(sql) == []
