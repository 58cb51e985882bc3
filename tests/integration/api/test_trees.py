"""Categories and locations: trees that stay trees, whoever moves what at the same time."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import psycopg2
import pytest

from tests.integration.api.services import Api, created
from tests.integration.conditions import soon
from tests.integration.stores import Postgres

TREES = pytest.mark.parametrize("tree", ["categories", "locations"])
HOLD = "SELECT pg_advisory_xact_lock(hashtextextended('tree:{}', 0))"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


async def node(api: Api, tree: str, parent: int | None = None, **more: Any) -> int:
    body = {"name": uuid.uuid4().hex, "parent_id": parent, **more}
    return int(created(await api.post(f"/api/v1/{tree}", body))["id"])


async def change(api: Api, tree: str, identifier: int, if_match: str = "*", **body: Any) -> httpx.Response:
    return await api.http.patch(f"/api/v1/{tree}/{identifier}", json=body, headers={"If-Match": if_match})


async def path(api: Api, tree: str, identifier: int) -> list[int]:
    return [step["id"] for step in (await api.get(f"/api/v1/{tree}/{identifier}")).json()["path"]]


def kind_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rsplit(":", 1)[1]


@pytest.fixture
def waiting(postgres: Postgres, database: str) -> Callable[[int], Any]:
    async def until_so_many_wait(count: int) -> None:
        async def they_do() -> bool:
            return bool(postgres.execute(WAITING, database)[0][0] == count)

        await soon(they_do)

    return until_so_many_wait


@TREES
async def test_a_branch_is_moved_with_all_that_is_below_it(admin: Api, tree: str) -> None:
    root = await node(admin, tree)
    branch = await node(admin, tree)
    leaf = await node(admin, tree, branch)

    assert (await change(admin, tree, branch, parent_id=root)).json()["parent_id"] == root
    assert await path(admin, tree, leaf) == [root, branch, leaf]

    assert (await change(admin, tree, branch, parent_id=None)).json()["parent_id"] is None
    assert await path(admin, tree, leaf) == [branch, leaf]


@TREES
async def test_nothing_is_moved_below_itself(admin: Api, tree: str) -> None:
    root = await node(admin, tree)
    leaf = await node(admin, tree, await node(admin, tree, root))

    for target in (root, leaf):
        assert kind_of(await change(admin, tree, root, parent_id=target)) == (409, "circle")
    assert await path(admin, tree, root) == [root]


@TREES
async def test_of_two_moves_at_once_that_would_make_a_circle_one_wins(
    admin: Api, postgres: Postgres, database: str, waiting: Callable[[int], Any], tree: str
) -> None:
    one, other = await node(admin, tree), await node(admin, tree)
    with psycopg2.connect(postgres.url(database)) as holder, holder.cursor() as cursor:
        cursor.execute(HOLD.format(tree))
        moves = [
            asyncio.create_task(change(admin, tree, one, parent_id=other)),
            asyncio.create_task(change(admin, tree, other, parent_id=one)),
        ]
        await waiting(2)
        holder.rollback()
        answers = await asyncio.gather(*moves)

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert sorted([len(await path(admin, tree, each)) for each in (one, other)]) == [1, 2]


@TREES
async def test_a_tree_is_so_deep_at_most(admin: Api, tree: str) -> None:
    deepest = None
    for _ in range(20):
        deepest = await node(admin, tree, deepest)
    pair = await node(admin, tree)
    await node(admin, tree, pair)
    above = (await path(admin, tree, deepest or 0))[-2]

    below = await admin.post(f"/api/v1/{tree}", {"name": "below", "parent_id": deepest})
    assert kind_of(below) == (409, "too-deep")
    assert kind_of(await change(admin, tree, pair, parent_id=above)) == (409, "too-deep")


@TREES
async def test_a_name_is_taken_once_among_siblings_and_free_elsewhere(admin: Api, tree: str) -> None:
    root = await node(admin, tree)
    other = await node(admin, tree, root, name="Same")
    await node(admin, tree, name="Same")

    again = await admin.post(f"/api/v1/{tree}", {"name": "Same", "parent_id": root})
    assert kind_of(again) == (409, "name-taken")
    assert kind_of(await change(admin, tree, other, parent_id=None)) == (409, "name-taken")


@TREES
@pytest.mark.parametrize("parent", [999_999, 0, -1, "x"])
async def test_a_parent_that_is_not_there_is_refused(admin: Api, tree: str, parent: Any) -> None:
    root = await node(admin, tree)
    expected = 404 if parent == 999_999 else 422

    assert (await admin.post(f"/api/v1/{tree}", {"name": "a", "parent_id": parent})).status_code == expected
    assert (await change(admin, tree, root, parent_id=parent)).status_code == expected


@TREES
async def test_a_change_names_the_version_that_was_read(admin: Api, tree: str) -> None:
    root = await node(admin, tree)
    read = (await admin.get(f"/api/v1/{tree}/{root}")).headers["ETag"]

    first = await change(admin, tree, root, read, name="First")
    assert (first.status_code, first.headers["ETag"]) == (200, '"2"')
    assert (await change(admin, tree, root, read, name="Second")).status_code == 412
    assert (await admin.http.patch(f"/api/v1/{tree}/{root}", json={"name": "Third"})).status_code == 428
    assert (await admin.get(f"/api/v1/{tree}/{root}")).json()["name"] == "First"


@TREES
async def test_what_is_so_already_changes_nothing(admin: Api, tree: str) -> None:
    root = await node(admin, tree, name="Same")

    assert (await change(admin, tree, root)).headers["ETag"] == '"1"'
    assert (await change(admin, tree, root, name="Same", parent_id=None)).headers["ETag"] == '"1"'
    assert (await change(admin, tree, root, name=None)).status_code == 422


@TREES
async def test_it_is_listed_flat_by_parent_and_in_pages(admin: Api, tree: str) -> None:
    root = await node(admin, tree)
    children = [await node(admin, tree, root) for _ in range(3)]
    await node(admin, tree, children[0])

    async def listed(**query: Any) -> list[int]:
        return [each["id"] for each in (await admin.get(f"/api/v1/{tree}", params=query)).json()["items"]]

    assert await listed(parent_id=root) == children
    assert root in await listed(parent_id=0)
    assert not set(children) & set(await listed(parent_id=0))
    assert set(children) < set(await listed())
    first = (await admin.get(f"/api/v1/{tree}", params={"parent_id": root, "limit": 2})).json()
    assert await listed(parent_id=root, cursor=first["next_cursor"]) == children[2:]


@TREES
async def test_only_what_nothing_hangs_on_is_deleted(admin: Api, tree: str) -> None:
    root = await node(admin, tree)
    leaf = await node(admin, tree, root)

    refused = await admin.http.delete(f"/api/v1/{tree}/{root}")
    assert kind_of(refused) == (409, "still-used")
    assert tree in refused.json()["detail"]
    for each in (leaf, root):
        assert (await admin.http.delete(f"/api/v1/{tree}/{each}")).status_code == 204
        assert (await admin.get(f"/api/v1/{tree}/{each}")).status_code == 404


async def test_a_category_of_items_says_that_items_hang_on_it(admin: Api) -> None:
    category = await node(admin, "categories")
    item = await admin.item(category_id=category)
    await admin.post(f"/api/v1/items/{item['id']}/archive")

    refused = await admin.http.delete(f"/api/v1/categories/{category}")

    assert (kind_of(refused), "items" in refused.json()["detail"]) == ((409, "still-used"), True)


@TREES
async def test_members_see_the_tree_and_change_nothing(member: Api, admin: Api, tree: str) -> None:
    root = await node(admin, tree)

    assert (await member.get(f"/api/v1/{tree}/{root}")).status_code == 200
    assert (await member.get(f"/api/v1/{tree}")).status_code == 200
    assert (await member.post(f"/api/v1/{tree}", {"name": "mine"})).status_code == 403
    assert (await change(member, tree, root, name="mine")).status_code == 403
    assert (await member.http.delete(f"/api/v1/{tree}/{root}")).status_code == 403
    if tree == "locations":
        assert (await member.post(f"/api/v1/{tree}/{root}/archive")).status_code == 403


@TREES
async def test_each_change_is_in_the_audit(admin: Api, tree: str) -> None:
    root = await node(admin, tree, name="Old")
    await change(admin, tree, root, name="New")
    await admin.http.delete(f"/api/v1/{tree}/{root}")

    subject = {"categories": "category", "locations": "location"}[tree]
    events = (await admin.get("/api/v1/audit", params={"subject": subject, "subject_id": root})).json()["items"]

    assert [event["action"] for event in events] == ["delete", "change", "create"]
    assert (events[1]["before"], events[1]["after"]) == ({"name": "Old"}, {"name": "New"})


async def test_a_location_has_a_barcode_of_its_own_and_says_how_often_it_is_counted(admin: Api) -> None:
    shelf = await node(admin, "locations", barcode="LOC-1", count_every_days=90)
    other = await node(admin, "locations")

    again = await admin.post("/api/v1/locations", {"name": "again", "barcode": "LOC-1"})
    assert kind_of(again) == (409, "barcode-taken")
    assert kind_of(await change(admin, "locations", other, barcode="LOC-1")) == (409, "barcode-taken")
    shown = (await change(admin, "locations", shelf, count_every_days=None)).json()
    assert (shown["barcode"], shown["count_every_days"]) == ("LOC-1", None)
    assert (await change(admin, "locations", shelf, count_every_days=0)).status_code == 422


async def receive(api: Api, item: int, location: int) -> httpx.Response:
    body = {"item_id": item, "quantity": 1, "location_id": location}
    return await api.post("/api/v1/stock/receive", body, Idempotency_Key=uuid.uuid4().hex)


async def test_an_empty_location_is_archived_and_takes_nothing_any_more(admin: Api) -> None:
    item = (await admin.item(1))["id"]
    shelf = await node(admin, "locations")

    for _ in range(2):
        archived = await admin.post(f"/api/v1/locations/{shelf}/archive")
        assert (archived.status_code, archived.json()["archived_at"] is None) == (200, False)
    assert kind_of(await receive(admin, item, shelf)) == (409, "archived")
    assert kind_of(await admin.post("/api/v1/locations", {"name": "b", "parent_id": shelf})) == (409, "archived")
    listed = [(await admin.get("/api/v1/locations", params={"archived": a})).json()["items"] for a in (False, True)]
    assert [shelf in [each["id"] for each in page] for page in listed] == [False, True]

    await admin.post(f"/api/v1/locations/{shelf}/unarchive")
    created(await receive(admin, item, shelf))


async def test_a_location_is_not_archived_while_anything_is_there_lent_from_there_or_below_it(admin: Api) -> None:
    item = (await admin.item(0))["id"]
    room = await node(admin, "locations")
    shelf = await node(admin, "locations", room)
    created(await receive(admin, item, shelf))

    async def refusal(location: int) -> tuple[int, str]:
        return kind_of(await admin.post(f"/api/v1/locations/{location}/archive"))

    assert await refusal(shelf) == (409, "still-used")
    assert await refusal(room) == (409, "still-used")
    assert await refusal(1) == (409, "first-location")
    loan = created(await admin.check_out(item, location_id=shelf))
    assert await refusal(shelf) == (409, "still-used")
    assert kind_of(await admin.http.delete(f"/api/v1/locations/{shelf}")) == (409, "still-used")
    await admin.post(f"/api/v1/loans/{loan['id']}/return", {"location_id": 1})

    for location in (shelf, room):
        assert (await admin.post(f"/api/v1/locations/{location}/archive")).status_code == 200
    assert kind_of(await admin.post(f"/api/v1/locations/{shelf}/unarchive")) == (409, "archived")


async def test_what_is_being_put_to_a_location_is_there_before_it_is_archived(
    admin: Api, postgres: Postgres, database: str, waiting: Callable[[int], Any]
) -> None:
    item = (await admin.item(1))["id"]
    shelf = await node(admin, "locations")
    with psycopg2.connect(postgres.url(database)) as putter, putter.cursor() as cursor:
        cursor.execute("SELECT FROM locations WHERE id = %s FOR KEY SHARE", [shelf])
        archiving = asyncio.create_task(admin.post(f"/api/v1/locations/{shelf}/archive"))
        await waiting(1)
        entry = "INSERT INTO stock_entries (item_id, location_id, kind, on_hand) VALUES (%s, %s, 'receive', 1)"
        cursor.execute(entry, [item, shelf])
        putter.commit()
        answer = await archiving

    assert kind_of(answer) == (409, "still-used")


async def test_whoever_comes_while_a_location_is_archived_finds_it_archived(
    admin: Api, postgres: Postgres, database: str, waiting: Callable[[int], Any]
) -> None:
    item = (await admin.item(1))["id"]
    shelf = await node(admin, "locations")
    with psycopg2.connect(postgres.url(database)) as archiver, archiver.cursor() as cursor:
        cursor.execute("SELECT FROM locations WHERE id = %s FOR UPDATE", [shelf])
        putting = asyncio.create_task(receive(admin, item, shelf))
        await waiting(1)
        cursor.execute("UPDATE locations SET archived_at = now() WHERE id = %s", [shelf])
        archiver.commit()
        answer = await putting

    assert kind_of(answer) == (409, "archived")
