"""The list of items: all that match and nothing else, in order, by whichever way it is found."""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from inventory_api.database import Database
from inventory_api.items import search, service
from inventory_api.items.schemas import ItemQuery
from inventory_api.pages import Position, page_until
from inventory_api.reads import Reads

from tests.integration.api.services import Api, client_of, created, ready, running, settings_for
from tests.integration.stores import SERVICE, Postgres

SORTS = ("created_at", "-created_at", "name", "-name", "sku", "-sku", "quantity", "-quantity")
WORDS = ("Cordless", "cord", "Drill", "drill", "Ü-Rohr", "Saw", "TV", "HDTV", "10%", "a_b", "C\\D", "(1.5*[x]+$")
# Ids of the schema's own location and of those below it; and of the categories.
MAIN, BUILDING, ROOM, SHELF = 1, 2, 3, 4
TOOLS, SAWS, CHAINSAWS, TOYS = 1, 2, 3, 4
BRANCHES = {TOOLS: {TOOLS, SAWS, CHAINSAWS}, SAWS: {SAWS, CHAINSAWS}, CHAINSAWS: {CHAINSAWS}, TOYS: {TOYS}}
PLACES = {MAIN: {MAIN}, BUILDING: {BUILDING, ROOM, SHELF}, ROOM: {ROOM, SHELF}, SHELF: {SHELF}}


@dataclass(frozen=True)
class Known:
    """An item as it was written into the database."""

    id: int
    name: str
    sku: str
    barcode: str
    category: int | None
    tracking: str
    places: frozenset[int]
    quantity: int
    on_loan: int
    minimum: int
    archived: bool
    serials: tuple[str, ...]

    def matches(self, query: dict[str, Any]) -> bool:
        return all(
            (
                self.archived == query.get("archived", False),
                "category_id" not in query or self.category in BRANCHES.get(query["category_id"], set()),
                "location_id" not in query or bool(self.places & PLACES.get(query["location_id"], set())),
                query.get("tracking") in (None, self.tracking),
                not query.get("below_minimum") or self.quantity < self.minimum,
                not query.get("available_only") or self.quantity > self.on_loan,
                "q" not in query or self.has_words(query["q"]) or self.has_code(query["q"]),
            )
        )

    def has_words(self, q: str) -> bool:
        name = " " + self.name.lower()
        words = q.lower().split()
        return all(word in name if len(word) > 2 else f" {word}" in name for word in words)

    def has_code(self, q: str) -> bool:
        begun = [self.sku, *self.serials]
        return self.barcode == q or any(code.lower().startswith(q.lower()) for code in begun)

    def key(self, sort: str) -> tuple[Any, ...]:
        column = sort.removeprefix("-")
        return (self.id,) if column == "created_at" else (getattr(self, column), self.id)


def some_items(count: int) -> list[Known]:
    chance = random.Random(4711)
    found = []
    for number in range(1, count + 1):
        tracking = chance.choices(["quantity", "units", "kit"], [8, 3, 1])[0]
        quantity = 0 if tracking == "kit" else chance.randrange(5)
        found.append(
            Known(
                id=number,
                name=" ".join(chance.choices(WORDS, k=chance.randrange(1, 4))),
                sku=f"{chance.choice(['Sku', 'DRILL', 'x_'])}-{number}",
                barcode=f"40{number:04}",
                category=chance.choice([TOOLS, SAWS, CHAINSAWS, TOYS, None]),
                tracking=tracking,
                places=frozenset(chance.sample([MAIN, ROOM, SHELF], k=min(quantity, chance.randrange(3)) or 1))
                if quantity
                else frozenset(),
                quantity=quantity,
                on_loan=chance.randrange(quantity + 1),
                minimum=0 if tracking == "kit" else chance.choice([0, 0, 2, 4]),
                archived=chance.random() < 0.15,
                serials=(f"SN{number:03}-A", f"sn{number:03}-B") if tracking == "units" else (),
            )
        )
    return found


KNOWN = some_items(160)


def write(postgres: Postgres, database: str) -> None:
    with postgres.connected(database) as cursor:
        cursor.execute("INSERT INTO locations (name, parent_id) VALUES ('Building', NULL), ('Room', 2), ('Shelf', 3)")
        cursor.execute(
            "INSERT INTO categories (name, parent_id) "
            "VALUES ('Tools', NULL), ('Saws', 1), ('Chainsaws', 2), ('Toys', NULL)"
        )
        for item in KNOWN:
            cursor.execute(
                "INSERT INTO items (name, sku, barcode, category_id, tracking, quantity, minimum_stock, archived_at) "
                "VALUES (%s, %s, %s, %s, %s, 0, %s, CASE WHEN %s THEN now() END) RETURNING id",
                [item.name, item.sku, item.barcode, item.category, item.tracking, item.minimum, item.archived],
            )
            assert cursor.fetchone() == (item.id,)
            lent, rest = item.on_loan, item.quantity
            for left, place in reversed(list(enumerate(sorted(item.places)))):
                here = rest - left
                rest -= here
                lent_here = min(here, lent)
                lent -= lent_here
                cursor.execute(
                    "INSERT INTO stock_entries (item_id, location_id, kind, on_hand, on_loan) "
                    "VALUES (%s, %s, 'receive', %s, %s)",
                    [item.id, place, here - lent_here, lent_here],
                )
            for serial in item.serials:
                cursor.execute("INSERT INTO units (item_id, serial, location_id) VALUES (%s, %s, 1)", [item.id, serial])
        cursor.execute("ANALYZE")


@pytest.fixture(scope="module")
async def catalogue(postgres: Postgres) -> AsyncIterator[Api]:
    database = postgres.migrated_database()
    write(postgres, database)
    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        yield api
    postgres.drop(database)


@pytest.fixture
def reads(catalogue: Api) -> Reads:
    found: Reads = catalogue.app.state.resources.database.reads
    return found


async def _always(*_given: Any) -> bool:
    return True


async def _never(*_given: Any) -> bool:
    return False


def gathered(_patch: pytest.MonkeyPatch) -> None:
    """A small list has few of anything."""


def looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(search, "_is_rare", _never)
    patch.setattr(search, "LOOKS", (4, 10, 30))


def gathered_in_vain(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(search, "_is_rare", _always)
    patch.setattr(search, "MOST", 3)
    patch.setattr(search, "LOOKS", (7, 20))


@pytest.fixture(params=[gathered, looked_at, gathered_in_vain], ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest) -> Iterator[Callable[[pytest.MonkeyPatch], None]]:
    with pytest.MonkeyPatch.context() as patch:
        request.param(patch)
        yield request.param


QUERIES: list[dict[str, Any]] = [
    {},
    {"archived": True},
    {"category_id": TOOLS},
    {"category_id": CHAINSAWS},
    {"category_id": 999},
    {"category_id": TOOLS, "available_only": True},
    {"category_id": TOOLS, "archived": True},
    {"location_id": BUILDING},
    {"location_id": MAIN, "tracking": "quantity"},
    {"location_id": 999},
    {"location_id": ROOM, "category_id": TOOLS},
    {"tracking": "kit"},
    {"tracking": "units", "available_only": True},
    {"tracking": "kit", "archived": True},
    {"below_minimum": True},
    {"below_minimum": True, "archived": True},
    {"below_minimum": True, "location_id": BUILDING},
    {"below_minimum": True, "category_id": SAWS, "tracking": "units"},
    {"below_minimum": True, "tracking": "kit"},
    {"available_only": True},
    {"q": "drill"},
    {"q": "DRILL"},
    {"q": "ordl"},
    {"q": "cord drill"},
    {"q": "saw tv"},
    {"q": "drill saw (1.5*[x]+$"},
    {"q": "5*[x ord"},
    {"q": "a.b ord"},
    {"q": "10% c\\d"},
    {"q": "drill drill"},
    {"q": "ü-rohr"},
    {"q": "tv"},
    {"q": "v"},
    {"q": "10%"},
    {"q": "%%%"},
    {"q": "a_b"},
    {"q": "c\\d"},
    {"q": "---"},
    {"q": "x_-1"},
    {"q": "sku-1"},
    {"q": "sn0"},
    {"q": "400007"},
    {"q": "nothing like it"},
    {"q": "saw", "category_id": TOOLS},
    {"q": "saw", "location_id": BUILDING},
    {"q": "saw", "location_id": BUILDING, "category_id": TOOLS, "available_only": True},
    {"q": "saw", "archived": True},
    {"q": "saw", "below_minimum": True},
    {"q": "saw", "tracking": "units", "below_minimum": True},
]


async def pages(reads: Reads, query: dict[str, Any], sort: str, limit: int) -> list[list[int]]:
    """The ids on each page, from the first one to the last."""
    found: list[list[int]] = []
    cursor = None
    while True:
        asked = ItemQuery(**query, sort=sort, limit=limit, cursor=cursor)  # type: ignore[arg-type]
        page = await service.page(reads, asked)
        found.append([row["id"] for row in page.items])
        assert len(found[-1]) <= limit
        assert len(found) < 1000
        if page.end is None:
            return found
        cursor = cursor_at(page.end)


def cursor_at(end: Position) -> str:
    page: Any = page_until([], ItemQuery, end)
    return str(page.next_cursor)


@pytest.mark.parametrize("sort", SORTS)
async def test_the_pages_hold_all_that_match_once_and_in_order(reads: Reads, way: Any, sort: str) -> None:
    for query in QUERIES:
        expected = sorted((each for each in KNOWN if each.matches(query)), key=lambda each: each.key(sort))
        if sort.startswith("-"):
            expected.reverse()

        found = await pages(reads, query, sort, limit=7)

        assert [each for page in found for each in page] == [each.id for each in expected], query
        if way is gathered and "location_id" not in query:
            assert all(len(page) == 7 for page in found[:-1]), query


@pytest.mark.parametrize("limit", [1, 200])
async def test_a_page_has_any_size(reads: Reads, limit: int) -> None:
    expected = [each.id for each in KNOWN if each.matches({"q": "drill"})]

    found = await pages(reads, {"q": "drill"}, "created_at", limit)

    assert [each for page in found for each in page] == expected


async def test_a_look_that_finds_nothing_goes_on_and_a_page_may_be_short_but_not_the_last(
    reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at(monkeypatch)
    last = max(each.id for each in KNOWN if not each.archived)
    wanted = ItemQuery(q=f"40{last:04}", limit=50)

    page = await service.page(reads, wanted)

    assert page.items == []
    assert page.end is not None
    assert page.end.id == [each.id for each in KNOWN if not each.archived][4 + 10 + 30 - 1]


async def test_the_planner_is_asked_what_is_rare(reads: Reads) -> None:
    """On a table this small everything is; the question itself must be one that PostgreSQL understands."""
    for query in QUERIES:
        asked = ItemQuery(**query, sort="quantity")
        wanted = search._Wanted(asked, None, [TOOLS], [MAIN])
        assert await search._is_rare(reads, wanted), query


async def test_all_words_at_once_are_the_same_as_each_of_them(reads: Reads) -> None:
    """By which the planner is asked for them, and by which they are looked for."""
    for query in QUERIES:
        wanted = search._Wanted(ItemQuery(**query), None, None, None)
        if wanted.query.q is None:
            continue

        async def found(conditions: list[str], wanted: search._Wanted = wanted) -> set[int]:
            statement = search._statement(search._by_indexes(wanted, conditions))
            return {row["id"] for row in await reads.rows(statement, **search._parameters(wanted))}

        assert await found([search._ALL_WORDS]) == await found(search._words(wanted, "items")), query


@pytest.mark.parametrize(
    ("q", "rare"), [("cordless drill", False), ("drill less cord", False), ("cordless saw", True), ("drill 77", True)]
)
async def test_words_that_go_together_are_as_frequent_as_they_are(
    pod: Database, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch, q: str, rare: bool
) -> None:
    """A hundred of a thousand are cordless drills; of independent words it would be ten."""
    postgres.execute(
        "INSERT INTO items (name, sku, quantity) SELECT CASE n % 10 WHEN 0 THEN 'Cordless drill ' WHEN 1 THEN 'Saw ' "
        "ELSE 'Table ' END || n, n, 0 FROM generate_series(1, 1000) AS n",
        database=database,
    )
    postgres.execute("ANALYZE items", database=database)
    monkeypatch.setattr(search, "MOST", 50)

    assert await search._is_rare(pod.reads, search._Wanted(ItemQuery(q=q), None, None, None)) is rare


def test_a_beginning_of_a_code_is_found_by_an_index_whatever_it_is(postgres: Postgres, database: str) -> None:
    """A statement that is used again and again gets a plan for any values."""
    with postgres.connected(database) as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("SET enable_sort = off")
        cursor.execute(f"EXPLAIN (GENERIC_PLAN) {search._statement(search._CODED).sql}")
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "Index Cond: ((lower(sku) ~>=~" in plan
    assert "Index Cond: ((lower(serial) ~>=~" in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan


async def test_of_too_many_codes_that_begin_so_the_first_are_found(
    reads: Reads, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_MOST_CODES", 3)
    begun = sorted((each for each in KNOWN if each.sku.startswith("Sku-")), key=lambda each: each.sku)
    assert len(begun) > 3

    found = await pages(reads, {"q": "sku-"}, "created_at", limit=2)

    assert sorted(each for page in found for each in page) == sorted(each.id for each in begun[:3] if not each.archived)


async def test_a_list_is_read_over_the_api_as_it_is_by_the_service(catalogue: Api) -> None:
    query: dict[str, Any] = {"q": "drill", "sort": "-name", "limit": 5}
    expected = sorted((each for each in KNOWN if each.matches(query)), key=lambda each: each.key("-name"), reverse=True)
    found: list[dict[str, Any]] = []
    while True:
        page = (await catalogue.get("/api/v1/items", params=query)).json()
        found += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]

    assert [each["id"] for each in found] == [each.id for each in expected]
    assert [each["available"] for each in found] == [each.quantity - each.on_loan for each in expected]


@pytest.mark.parametrize(
    "query",
    ["q=", "q=%20", "q=%00", f"q={'x' * 201}", "q=a+b+c+d+e+f+g+h+i+j+k", "sort=id", "sort=--name", "archived=maybe"],
)
async def test_what_cannot_be_asked_is_refused(quiet_admin: Api, query: str) -> None:
    assert (await quiet_admin.get(f"/api/v1/items?{query}")).status_code == 422


async def test_a_cursor_belongs_to_its_order(admin: Api) -> None:
    for _ in range(2):
        await admin.item()
    page = (await admin.get("/api/v1/items", params={"sort": "name", "limit": 1})).json()

    for sort in set(SORTS) - {"name"}:
        answer = await admin.get("/api/v1/items", params={"sort": sort, "cursor": page["next_cursor"]})
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:invalid-cursor")


async def test_a_cursor_of_the_first_release_is_still_one(catalogue: Api) -> None:
    """`id:7`: while a release is under way, a list is read from both."""
    answer = await catalogue.get("/api/v1/items", params={"cursor": "aWQ6Nw", "limit": 1})

    assert answer.json()["items"][0]["id"] == min(each.id for each in KNOWN if each.id > 7 and not each.archived)


async def test_what_is_added_between_two_pages_is_neither_skipped_nor_repeated(admin: Api) -> None:
    for name in ("b", "d", "f"):
        await admin.item(name=name)
    first = (await admin.get("/api/v1/items", params={"sort": "name", "limit": 2})).json()
    for name in ("a", "e", "z"):
        await admin.item(name=name)

    query = {"sort": "name", "cursor": first["next_cursor"]}
    rest = (await admin.get("/api/v1/items", params=query)).json()

    assert [each["name"] for each in first["items"] + rest["items"]] == ["b", "d", "e", "f", "z"]


@pytest.mark.parametrize(
    "path",
    [
        "categories",
        "categories?parent_id=0",
        "locations",
        "locations?parent_id=1",
        "items",
        "items?sort=-name",
        "items?q=drill",
        "items?category_id=1",
        "items?location_id=1",
        "items?below_minimum=true&sort=name",
        "items?available_only=true&tracking=quantity",
        "lookup?code=same",
    ],
)
async def test_a_list_takes_as_many_statements_for_many_rows_as_for_one(
    admin: Api, statements: list[str], path: str
) -> None:
    await admin.post("/api/v1/categories", {"name": "Tools"})

    async def add(number: int) -> None:
        created(await admin.post("/api/v1/categories", {"name": f"Category {number}"}))
        created(await admin.post("/api/v1/locations", {"name": f"Location {number}", "parent_id": 1}))
        item = await admin.item(1, category_id=1, minimum_stock=5)
        pieces = (await admin.item(0, tracking="units"))["id"]
        unit = {"serial": "same"}
        created(await admin.post(f"/api/v1/items/{pieces}/units", unit, Idempotency_Key=f"{item['id']}"))

    async def asked() -> tuple[int, int]:
        statements.clear()
        answer = (await admin.get(f"/api/v1/{path}")).json()
        return len(answer.get("items", answer.get("found"))), len(statements)

    await add(0)
    await asked()  # who is calling may be asked for once
    few, before = await asked()
    for number in range(1, 6):
        await add(number)
    many, after = await asked()

    assert many > few
    assert after == before
