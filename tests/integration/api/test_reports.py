"""Reports on real rows, which the tests put there as they need them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from inventory_api.reads import ReadRow, Reads, Statement

from tests.integration.api.services import Api, created
from tests.integration.conditions import soon
from tests.integration.stores import Postgres

REPORTS = "/api/v1/reports"
PATHS = [f"{REPORTS}/{name}" for name in ("statistics", "low-stock", "overdue", "use", "value", "most-used")]
LENT = (
    "INSERT INTO loans (item_id, user_id, quantity, lent_by, lent_at, due_at, returned_at, kit_loan_id) "
    "VALUES (%s, %s, %s, 1, %s, %s, %s, %s)"
)


class Rows:
    """What a test puts into the database behind the service's back."""

    def __init__(self, postgres: Postgres, database: str) -> None:
        self._postgres = postgres
        self._database = database

    def run(self, sql: str, *values: Any) -> None:
        self._postgres.execute(sql, *values, database=self._database)

    def lend(self, item: int, lent: str, returned: str | None, *, due: str = "2099-01-01", **more: Any) -> None:
        values = {"user": 1, "quantity": 1, "kit_loan": None, **more}
        self.run(LENT, item, values["user"], values["quantity"], lent, due, returned, values["kit_loan"])

    def overdue(self, item: int, age: str, user: int = 1, quantity: int = 1, kit_loan: int | None = None) -> None:
        self.run(
            "INSERT INTO loans (item_id, user_id, quantity, lent_by, lent_at, due_at, kit_loan_id) "
            "VALUES (%s, %s, %s, 1, now() - interval '1 year', now() - %s::interval, %s)",
            *(item, user, quantity, age, kit_loan),
        )


@pytest.fixture
def rows(postgres: Postgres, database: str) -> Rows:
    return Rows(postgres, database)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each statement that a report sends."""
    sent: list[str] = []
    run = Reads.rows

    async def noting(self: Reads, statement: Statement, **values: Any) -> list[ReadRow]:
        sent.append(statement.sql)
        return await run(self, statement, **values)

    monkeypatch.setattr(Reads, "rows", noting)
    return sent


def shown(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", PATHS)
async def test_a_member_sees_no_report(member: Api, path: str) -> None:
    answer = await member.get(path)

    assert (answer.status_code, answer.json()["type"]) == (403, "urn:inventory:problem:not-permitted")


async def test_what_was_added_is_counted_at_once_and_who_may_not_see_it_sees_nothing_that_is_kept(
    admin: Api, member: Api
) -> None:
    counts = []
    for _ in range(2):
        counts.append(shown(await admin.get(PATHS[0]))["items"]["total"])
        await admin.item(1)

    assert counts == [0, 1]
    assert (await member.get(PATHS[0])).status_code == 403


async def test_what_is_lent_or_reserved_or_who_comes_and_goes_is_in_the_figures_a_moment_later(admin: Api) -> None:
    item, unit_item = (await admin.item(5))["id"], (await admin.item(0, tracking="units"))["id"]
    unit = created(await admin.post(f"/api/v1/items/{unit_item}/units", {"serial": "S1"}, Idempotency_Key="u"))["id"]

    async def come(**expected: int) -> None:
        async def has_come() -> bool:
            figures = shown(await admin.get(f"{REPORTS}/statistics"))
            flat = {**figures["stock"], **figures["loans"], **figures["reservations"], **figures["units"]}
            return {**flat, "active_people": figures["active_people"]}.items() >= expected.items()

        await soon(has_come)

    await come(on_hand=6, on_loan=0, open=0, lendable=1, active_people=1)
    loan = created(await admin.check_out(item, quantity=2))["id"]
    await come(on_hand=4, on_loan=2, open=1)
    shown(await admin.post(f"/api/v1/loans/{loan}/return"))
    await come(on_hand=6, on_loan=0, open=0)
    starts, ends = ((datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (3, 4))
    body = {"item_id": item, "starts_at": starts, "ends_at": ends}
    booked = created(await admin.post("/api/v1/reservations", body, Idempotency_Key="r"))["id"]
    await come(booked=1)
    shown(await admin.post(f"/api/v1/reservations/{booked}/cancel"))
    await come(booked=0)
    shown(await admin.post(f"/api/v1/units/{unit}/state", {"state": "retired"}))
    await come(lendable=0, retired=1, on_hand=5)
    someone = {"email": "new@example.com", "name": "New", "password": "long enough"}
    created(await admin.post("/api/v1/users", someone))
    await come(active_people=2)
    shown(await admin.http.patch("/api/v1/users/2", json={"active": False}, headers={"If-Match": "*"}))
    await come(active_people=1)


@pytest.mark.parametrize("path", PATHS)
async def test_every_report_of_an_empty_inventory_is_well(admin: Api, path: str) -> None:
    shown(await admin.get(path))


async def test_statistics_count_what_there_is(admin: Api, rows: Rows) -> None:
    drill = await admin.item(5)
    await admin.item(0, tracking="units")
    kit = await admin.item(0, tracking="kit")
    rows.run("UPDATE items SET archived_at = now() WHERE id = %s", kit["id"])
    created(await admin.check_out(drill["id"], quantity=2))
    rows.overdue(drill["id"], "1 day")
    rows.overdue(drill["id"], "1 day", kit_loan=1)
    rows.run(
        "INSERT INTO reservations (item_id, user_id, quantity, status, hold_seconds, created_by) "
        "VALUES (%s, 1, 1, 'waiting', 60, 1)",
        drill["id"],
    )

    found = shown(await admin.get(f"{REPORTS}/statistics"))

    assert found.pop("as_of")
    assert found == {
        "items": {"total": 3, "by_quantity": 1, "by_units": 1, "kits": 1, "archived": 1},
        "units": {"lendable": 0, "in_repair": 0, "retired": 0, "lost": 0},
        "stock": {"owned": 5, "on_hand": 3, "on_loan": 2, "reserved": 0},
        "loans": {"open": 2, "overdue": 1},
        "reservations": {"booked": 0, "waiting": 1, "ready": 0},
        "active_people": 1,
    }


async def test_an_item_is_low_while_less_than_its_minimum_is_available(admin: Api, rows: Rows) -> None:
    low, enough, lent, archived, without = [await admin.item(3) for _ in range(5)]
    for item, minimum in ((low, 4), (enough, 3), (lent, 3), (archived, 9), (without, 0)):
        rows.run("UPDATE items SET minimum_stock = %s WHERE id = %s", minimum, item["id"])
    rows.run("UPDATE items SET archived_at = now() WHERE id = %s", archived["id"])
    created(await admin.check_out(lent["id"], quantity=2))

    found = shown(await admin.get(f"{REPORTS}/low-stock"))["items"]

    assert [(row["id"], row["available"], row["missing"]) for row in found] == [(low["id"], 3, 1), (lent["id"], 1, 2)]


async def test_an_item_may_be_low_by_what_is_on_hand_alone(admin: Api, rows: Rows) -> None:
    reserved, lent = [(await admin.item(3))["id"] for _ in range(2)]
    rows.run("UPDATE items SET minimum_stock = 3")
    created(await admin.post("/api/v1/reservations", {"item_id": reserved, "quantity": 1}, Idempotency_Key="r"))
    created(await admin.check_out(lent))

    async def low(by: str) -> list[tuple[int, int]]:
        found = shown(await admin.get(f"{REPORTS}/low-stock", params={"by": by}))["items"]
        return [(row["id"], row["missing"]) for row in found]

    assert await low("available") == [(reserved, 1), (lent, 1)]
    assert await low("on-hand") == [(lent, 1)]


async def test_items_without_a_minimum_are_not_looked_at_for_what_is_low(
    admin: Api, statements: list[str], postgres: Postgres, database: str, rows: Rows
) -> None:
    rows.run(
        "INSERT INTO items (name, sku, quantity, minimum_stock) "
        "SELECT 'Drill', 'D-' || n, 0, (n % 100 = 0)::int FROM generate_series(1, 10000) n"
    )
    rows.run("ANALYZE items")
    shown(await admin.get(f"{REPORTS}/low-stock"))

    with postgres.connected(database) as cursor:
        cursor.execute(f"PREPARE low AS {statements[-1]}")
        cursor.execute("EXPLAIN EXECUTE low (false, 0, 51)")
        plan = "".join(line for (line,) in cursor.fetchall())

    assert "using items_minimum_stock_idx" in plan


async def test_who_is_overdue_is_told_by_person_and_age(admin: Api, member: Api, rows: Rows) -> None:
    item = (await admin.item(1))["id"]
    for age in ("1 hour", "6 days 23 hours", "7 days 1 hour", "29 days 23 hours", "30 days 1 hour"):
        rows.overdue(item, age, user=2, quantity=2)
    rows.overdue(item, "1 hour", user=2, kit_loan=1)
    rows.overdue(item, "-1 hour", user=2)
    rows.lend(item, "2020-01-01", "2020-02-01", due="2020-01-15", user=2)
    rows.overdue(item, "90 days")

    report = shown(await admin.get(f"{REPORTS}/overdue"))
    admins, members = report["items"]

    buckets = ("days_1_to_7", "days_8_to_30", "days_31_and_more")
    assert [admins[name] for name in ("user_id", "loans", *buckets)] == [1, 1, 0, 0, 1]
    assert [members[name] for name in ("user_id", "loans", *buckets)] == [2, 5, 2, 2, 1]
    assert (members["name"], members["outstanding"]) == ("Mem Ber", 10)
    second = shown(await admin.get(f"{REPORTS}/overdue", params={"limit": 1}))
    assert second["totals"] == report["totals"]
    assert [report["totals"][name] for name in ("people", "loans", "outstanding", *buckets)] == [2, 6, 11, 2, 2, 2]


async def test_use_is_the_loans_and_days_of_each_month(admin: Api, rows: Rows) -> None:
    item, other, unused, archived = [(await admin.item(1))["id"] for _ in range(4)]
    rows.run("UPDATE items SET archived_at = now() WHERE id = %s", archived)
    rows.lend(item, "2025-12-30T00:00Z", "2026-01-03T12:00Z", quantity=3)
    rows.lend(item, "2026-01-31T00:00Z", "2026-02-02T00:00Z")
    rows.lend(other, "2026-03-30T00:00Z", None)
    rows.lend(unused, "2025-01-01T00:00Z", "2026-01-01T00:00Z")
    between = {"since": "2026-01-01T00:00:00Z", "until": "2026-04-01T00:00:00Z"}

    async def used(**more: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = shown(await admin.get(f"{REPORTS}/use", params={**between, **more}))["items"]
        return found

    first, second, third = await used()
    assert (first["loans"], first["loan_days"]) == (1, 4.5)
    assert first["months"] == [
        {"since": "2026-01-01T00:00:00Z", "loans": 1, "loan_days": 3.5},
        {"since": "2026-02-01T00:00:00Z", "loans": 0, "loan_days": 1.0},
    ]
    assert second["months"] == [{"since": "2026-03-01T00:00:00Z", "loans": 1, "loan_days": 2.0}]
    assert (third["id"], third["loans"], third["loan_days"], third["months"]) == (unused, 0, 0, [])
    assert [row["id"] for row in await used(lent="true")] == [item, other]
    assert [row["id"] for row in await used(lent="false")] == [unused]


async def test_what_is_used_most_comes_first_by_loans_or_by_their_days(admin: Api, rows: Rows) -> None:
    often, long, same, unused = [(await admin.item(1))["id"] for _ in range(4)]
    for day in (1, 2, 3):
        rows.lend(often, f"2026-01-0{day}T00:00Z", f"2026-01-0{day}T12:00Z")
    rows.lend(long, "2025-06-01T00:00Z", None)
    rows.lend(same, "2026-01-05T00:00Z", "2026-01-06T00:00Z")
    rows.lend(unused, "2025-01-01T00:00Z", "2026-01-01T00:00Z")
    between = {"since": "2026-01-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"}

    async def ranked(**more: Any) -> list[tuple[int, int, float]]:
        seen, cursor = [], ""
        while cursor is not None:
            query = {**between, **more, **({"cursor": cursor} if cursor else {})}
            page = shown(await admin.get(f"{REPORTS}/most-used", params=query))
            seen += [(row["id"], row["loans"], row["loan_days"]) for row in page["items"]]
            cursor = page["next_cursor"]
        return seen

    by_loans = [(often, 3, 1.5), (same, 1, 1.0), (long, 0, 59.0)]
    assert await ranked() == by_loans
    assert await ranked(limit=1) == by_loans
    assert await ranked(by="loan-days", limit=1) == [(long, 0, 59.0), (often, 3, 1.5), (same, 1, 1.0)]
    (first, *_) = shown(await admin.get(f"{REPORTS}/most-used", params=between))["items"]
    assert first["months"] == [{"since": "2026-01-01T00:00:00Z", "loans": 3, "loan_days": 1.5}]


@pytest.mark.parametrize(
    "query",
    ["since=2026-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", "since=1970-01-01T00:00:00Z", "since=0", "lent=2"],
)
async def test_a_range_that_cannot_be_is_refused(admin: Api, query: str) -> None:
    assert (await admin.get(f"{REPORTS}/use?{query}")).status_code == 422


async def test_the_value_of_stock_is_summed_by_top_category_and_by_location(admin: Api, rows: Rows) -> None:
    tools = created(await admin.post("/api/v1/categories", {"name": "Tools"}))["id"]
    drills = created(await admin.post("/api/v1/categories", {"name": "Drills"}))["id"]
    rows.run("UPDATE categories SET parent_id = %s WHERE id = %s", tools, drills)
    worth = {}
    for category, cents in ((tools, 100), (drills, 10), (None, 2**62), (drills, None)):
        item = await admin.item(3, category_id=category)
        rows.run("UPDATE items SET unit_value_cents = %s WHERE id = %s", cents, item["id"])
        worth[category, cents] = item["id"]
    created(await admin.check_out(worth[tools, 100], quantity=2))

    found = shown(await admin.get(f"{REPORTS}/value"))

    assert found["total_cents"] == 3 * 2**62 + 330
    assert found["items_without_value"] == 1
    assert [tuple(row.values()) for row in found["categories"]] == [
        (None, None, 3 * 2**62, 0),
        (tools, "Tools", 330, 1),
    ]
    assert [row["value_cents"] for row in found["locations"]] == [3 * 2**62 + 330]
    assert (found["other_categories_cents"], found["other_locations_cents"]) == (0, 0)


async def test_what_the_lists_of_values_have_no_room_for_is_summed_beside_them(admin: Api, rows: Rows) -> None:
    rows.run("INSERT INTO categories (name) SELECT 'c' || n FROM generate_series(1, 205) AS n")
    rows.run(
        "INSERT INTO items (name, sku, quantity, unit_value_cents, category_id) "
        "SELECT name, name, 0, 1 + id, id FROM categories"
    )
    rows.run(
        "INSERT INTO stock_entries (item_id, location_id, kind, on_hand) "
        "SELECT id, (SELECT min(id) FROM locations), 'receive', 1 FROM items"
    )
    # Tests have one Redis between them, where the value of another's inventory may be kept.
    await admin.item(0)

    found = shown(await admin.get(f"{REPORTS}/value"))

    listed = [row["value_cents"] for row in found["categories"]]
    assert (len(listed), listed == sorted(listed, reverse=True)) == (200, True)
    assert found["other_categories_cents"] == found["total_cents"] - sum(listed) > 0


async def test_pages_neither_skip_nor_repeat_and_cost_one_statement_each(
    admin: Api, rows: Rows, statements: list[str]
) -> None:
    items = [(await admin.item(1))["id"] for _ in range(5)]
    rows.run("UPDATE items SET minimum_stock = 2")
    rows.run(
        "INSERT INTO users (email, name, role, password_hash) SELECT n || '@e', n, 'member', '' "
        "FROM generate_series(2, 5) AS n"
    )
    rows.run(
        "INSERT INTO loans (item_id, user_id, quantity, lent_by, lent_at, due_at) "
        "SELECT %s, id, 1, id, now() - interval '9 days', now() - interval '8 days' FROM users",
        items[0],
    )

    for path, name in ((PATHS[1], "id"), (PATHS[2], "user_id"), (PATHS[3], "id"), (PATHS[5], "id")):
        seen, cursor = [], ""
        while cursor is not None:
            statements.clear()
            page = shown(await admin.get(path, params={"limit": "2", **({"cursor": cursor} if cursor else {})}))
            # The other one asks who is calling.
            assert len(statements) == 2
            seen += [row[name] for row in page["items"]]
            cursor = page["next_cursor"]
        assert seen == sorted(set(seen))
        assert len(seen) == (1 if path == PATHS[5] else 5)
