"""A database that is filled by command, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.api.services import Api, client_of, ready, running, settings_for
from tests.integration.stores import SERVICE, Postgres

_ITEMS, _PEOPLE, _LOANS = 2000, 50, 500
_SIZE = ("--items", str(_ITEMS), "--people", str(_PEOPLE), "--loans", str(_LOANS))
_PASSWORD = "the same for all"


def run(
    postgres: Postgres, database: str, *arguments: str, environment: str = "testing"
) -> subprocess.CompletedProcess[str]:
    settings = {
        "INVENTORY_ENVIRONMENT": environment,
        "INVENTORY_DATABASE_URL": postgres.url(database, SERVICE),
        "INVENTORY_SECRET_KEY": "k" * 32,
    }
    command = [sys.executable, "-m", "inventory_api", *arguments]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Iterator[str]:
    """A database that no test here changes."""
    name = postgres.migrated_database()
    done = run(postgres, name, "fill", *_SIZE, "--password", _PASSWORD)
    assert done.returncode == 0, done.stderr
    assert f"items: {_ITEMS:,} of {_ITEMS:,}\n" in done.stdout
    assert "\r" not in done.stdout
    yield name
    postgres.drop(name)


def one(postgres: Postgres, database: str, sql: str) -> Any:
    ((found,),) = postgres.execute(sql, database=database)
    return found


def test_every_figure_of_what_is_made_is_what_the_ledger_adds_up_to(postgres: Postgres, filled: str) -> None:
    done = run(postgres, filled, "check-stock")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert one(postgres, filled, "SELECT sum(on_hand) + sum(on_loan) FROM stock_entries") > _ITEMS


def test_as_much_is_made_as_is_asked_for_and_looks_like_two_years_of_lending(postgres: Postgres, filled: str) -> None:
    count = {
        "items": one(postgres, filled, "SELECT count(*) FROM items"),
        "people": one(postgres, filled, "SELECT count(*) FROM users"),
        "loans": one(postgres, filled, "SELECT count(*) FROM loans"),
    }
    in_units = one(postgres, filled, "SELECT count(*) FROM items WHERE tracking = 'units'")
    still_out = one(postgres, filled, "SELECT count(*) FROM loans WHERE returned_at IS NULL")
    overdue = one(postgres, filled, "SELECT count(*) FROM loans WHERE returned_at IS NULL AND due_at < now()")
    days = one(postgres, filled, "SELECT extract(day FROM now() - min(lent_at)) FROM loans")

    assert count == {"items": _ITEMS, "people": _PEOPLE, "loans": _LOANS}
    assert _ITEMS * 0.01 < in_units < _ITEMS * 0.04
    assert one(postgres, filled, "SELECT count(*) FROM units") > in_units
    assert (still_out, overdue) == (60, 18)
    assert 700 < days <= 731


def test_nothing_is_made_that_no_request_could_have_made(postgres: Postgres, filled: str) -> None:
    broken = {
        "comes back before it goes": "SELECT count(*) FROM loans WHERE returned_at < lent_at OR due_at < lent_at",
        "happens in the future": "SELECT count(*) FROM loans WHERE greatest(lent_at, returned_at) > now()",
        "is lent by a member": "SELECT count(*) FROM loans JOIN users ON users.id = lent_by WHERE role <> 'staff'",
        "is lent before it was there": "SELECT count(*) FROM loans JOIN items ON items.id = item_id "
        "WHERE lent_at < items.created_at OR lent_at < (SELECT max(created_at) FROM users)",
        "is a unit without its loan, or the other way round": "SELECT count(*) FROM loans "
        "JOIN items ON items.id = item_id AND tracking = 'units' LEFT JOIN loan_units ON loan_id = loans.id "
        "LEFT JOIN units ON units.id = unit_id AND units.item_id = loans.item_id "
        "WHERE units.id IS NULL OR coalesce(units.loan_id = loans.id, false) <> (loans.returned_at IS NULL)",
        "has no entry of its own": "SELECT count(*) FROM loans WHERE (SELECT count(*) FROM stock_entries "
        "WHERE loan_id = loans.id) <> CASE WHEN returned_at IS NULL THEN 1 ELSE 2 END",
    }

    assert {what: one(postgres, filled, sql) for what, sql in broken.items()} == dict.fromkeys(broken, 0)


async def test_the_api_serves_what_is_made(postgres: Postgres, filled: str) -> None:
    settings = settings_for(postgres.url(filled, SERVICE), admin_email=None, admin_password=None)
    staff = one(postgres, filled, "SELECT email FROM users WHERE role = 'staff' ORDER BY id LIMIT 1")
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in(staff, _PASSWORD)
        pages = {path: await listed(api, path) for path in ("items", "units", "loans", "locations", "categories")}
        late = await listed(api, "loans", overdue=True)
        drills = await listed(api, "items", q="cordless drill")
        sku = pages["items"][7]["sku"]
        by_sku = await listed(api, "items", q=sku)

    assert all(pages.values())
    assert len(late) == 18
    assert drills
    assert all("Cordless drill" in item["name"] for item in drills)
    assert [item["sku"] for item in by_sku] == [sku]


async def listed(api: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await api.get(f"/api/v1/{path}", params={"limit": 100, **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_what_is_there_is_not_made_again(postgres: Postgres, filled: str) -> None:
    again = run(postgres, filled, "fill", *_SIZE)

    assert (again.returncode, again.stdout) == (1, "")
    assert "there already" in again.stderr
    assert "Traceback" not in again.stderr
    assert one(postgres, filled, "SELECT count(*) FROM items") == _ITEMS


def test_the_same_seed_makes_the_same_and_another_one_something_else(postgres: Postgres, database: str) -> None:
    other = postgres.migrated_database()
    try:
        for name, seed in ((database, "1"), (database, "2"), (other, "1")):
            done = run(postgres, name, "fill", "--items", "50", "--people", "3", "--loans", "20", "--seed", seed)
            assert done.returncode == 0, done.stderr
        checked = run(postgres, database, "check-stock")
        ours, theirs = made(postgres, database), made(postgres, other)
    finally:
        postgres.drop(other)

    assert checked.returncode == 0, checked.stdout
    assert ours[:50] == theirs
    assert {row[1:] for row in ours[:50]}.isdisjoint(row[1:] for row in ours[50:])


def made(postgres: Postgres, database: str) -> list[Any]:
    return postgres.execute(
        "SELECT sku, name, quantity, on_loan, minimum_stock, (SELECT array_agg((email, loans.quantity) "
        "ORDER BY loans.id) FROM loans JOIN users ON users.id = user_id WHERE item_id = items.id) "
        "FROM items ORDER BY id",
        database=database,
    )


def test_nothing_is_made_up_in_production_unless_one_insists(postgres: Postgres, database: str) -> None:
    refused = run(postgres, database, "fill", "--items", "1", environment="production")
    items = one(postgres, database, "SELECT count(*) FROM items")
    done = run(postgres, database, "fill", "--items", "1", "--yes-in-production", environment="production")

    assert (refused.returncode, "--yes-in-production" in refused.stderr, items) == (2, True, 0)
    assert (done.returncode, one(postgres, database, "SELECT count(*) FROM items")) == (0, 1), done.stderr


def test_each_item_has_the_stock_that_is_asked_for(postgres: Postgres, database: str) -> None:
    done = run(postgres, database, "fill", "--items", "30", "--stock", "1000000", "--units", "0", "--loans", "0")

    assert done.returncode == 0, done.stderr
    assert postgres.execute("SELECT DISTINCT quantity, tracking FROM items", database=database) == [
        (1_000_000, "quantity")
    ]


def test_options_that_cannot_be_are_refused_by_name(postgres: Postgres, database: str) -> None:
    done = run(postgres, database, "fill", "--items", "0", "--seed", "10000", "--password", "short")

    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert all(name in done.stderr for name in ("--items", "--seed", "--password"))
