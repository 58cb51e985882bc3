import asyncio
import json
from collections import Counter
from functools import partial

import pytest
from fastapi import FastAPI
from inventory_api.idempotency.service import Answer, answer_once
from inventory_api.loans.schemas import CheckOut
from inventory_api.resources import Resources

from tests.integration.api.relay import relay
from tests.integration.api.services import Api, client_of, created, insist, ready, running, settings_for, tomorrow
from tests.integration.conditions import soon
from tests.integration.stores import SERVICE, Postgres


async def test_an_item_is_created_lent_and_taken_back(admin: Api) -> None:
    category = created(await admin.post("/api/v1/categories", {"name": "Tools"}))
    item = await admin.item(3, category_id=category["id"])

    loan = created(await admin.check_out(item["id"], quantity=2))
    assert await admin.available(item["id"]) == 1

    returned = await admin.post(f"/api/v1/loans/{loan['id']}/return")
    assert returned.status_code == 200
    assert returned.json()["returned_at"] is not None
    assert await admin.available(item["id"]) == 3


async def test_a_return_that_is_sent_again_gets_the_same_answer(admin: Api) -> None:
    item = await admin.item(1)
    loan = created(await admin.check_out(item["id"]))

    answers = await asyncio.gather(*(admin.post(f"/api/v1/loans/{loan['id']}/return") for _ in range(10)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert await admin.available(item["id"]) == 1


async def test_of_a_hundred_callers_exactly_as_many_succeed_as_there_are_units(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item = await admin.item(7)

    answers = await asyncio.gather(*(insist(partial(admin.check_out, item["id"])) for _ in range(100)))

    assert Counter(answer.status_code for answer in answers) == {201: 7, 409: 93}
    assert await admin.available(item["id"]) == 0
    assert postgres.execute("SELECT sum(quantity) FROM loans", database=database) == [(7,)]


async def test_more_than_is_there_cannot_be_lent(admin: Api) -> None:
    item = await admin.item(2)

    answer = await admin.check_out(item["id"], quantity=3)

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:out-of-stock")


async def test_a_check_out_that_is_sent_again_is_done_once(admin: Api) -> None:
    item = await admin.item(5)
    body = {"item_id": item["id"], "quantity": 1, "due_at": tomorrow()}

    first = await admin.post("/api/v1/loans", body, Idempotency_Key="once")
    second = await admin.post("/api/v1/loans", body, Idempotency_Key="once")

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert await admin.available(item["id"]) == 4


class CheckOutThatTakesMore(CheckOut):
    remark: str | None = None


class CheckOutWithAnotherDefault(CheckOut):
    user_id: int | None = 1


@pytest.mark.parametrize("later", [CheckOutThatTakesMore, CheckOutWithAnotherDefault])
async def test_a_check_out_that_is_sent_again_is_known_to_a_release_that_takes_more(
    app: FastAPI, admin: Api, later: type[CheckOut]
) -> None:
    item = await admin.item(5)
    body = {"item_id": item["id"], "quantity": 1, "due_at": tomorrow()}
    first = created(await admin.post("/api/v1/loans", body, Idempotency_Key="across-releases"))

    async def nothing() -> Answer:
        raise AssertionError("done twice")

    resources: Resources = app.state.resources
    async with resources.database.transaction() as session:
        answer = await answer_once(
            session, first["lent_by"], "check-out", "across-releases", later.model_validate(body), nothing
        )

    assert (answer.replayed, answer.body) == (True, first)


async def test_a_key_that_comes_back_with_another_body_is_refused(admin: Api) -> None:
    item = await admin.item(5)
    created(await admin.check_out(item["id"], "reused"))

    answer = await admin.check_out(item["id"], "reused", quantity=2)

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:idempotency-key-reused")


async def test_the_same_check_out_may_come_back_in_other_words(admin: Api) -> None:
    item = await admin.item(5)
    body = {"item_id": item["id"], "quantity": 1}

    first = await admin.post("/api/v1/loans", {**body, "due_at": "2090-01-01T12:00:00Z"}, Idempotency_Key="words")
    second = await admin.post("/api/v1/loans", {"due_at": "2090-01-01T14:00:00+02:00", **body}, Idempotency_Key="words")

    assert created(second) == created(first)


async def test_a_key_that_is_being_worked_on_is_a_conflict(admin: Api, postgres: Postgres, database: str) -> None:
    item = await admin.item(5)
    body = {"item_id": item["id"], "quantity": 1, "due_at": tomorrow()}
    with postgres.connected(database) as blocker:
        blocker.execute("BEGIN")
        blocker.execute("SELECT * FROM items FOR UPDATE")
        first = asyncio.create_task(admin.post("/api/v1/loans", body, Idempotency_Key="slow"))
        await soon(partial(waits_for_a_lock, postgres))

        second = await admin.post("/api/v1/loans", body, Idempotency_Key="slow")
        blocker.execute("ROLLBACK")

    assert (second.status_code, second.headers["Retry-After"]) == (409, "1")
    assert created(await first)["item_id"] == item["id"]
    assert (await admin.post("/api/v1/loans", body, Idempotency_Key="slow")).json() == (await first).json()


async def test_a_check_out_whose_connection_is_lost_did_nothing_and_may_be_sent_again(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item = await admin.item(1)
    body = {"item_id": item["id"], "quantity": 1, "due_at": tomorrow()}
    with postgres.connected(database) as blocker:
        blocker.execute("BEGIN")
        blocker.execute("SELECT * FROM items FOR UPDATE")
        first = asyncio.create_task(admin.post("/api/v1/loans", body, Idempotency_Key="lost"))
        await soon(partial(waits_for_a_lock, postgres))
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
        lost = await first
        blocker.execute("ROLLBACK")

    again = await admin.post("/api/v1/loans", body, Idempotency_Key="lost")

    assert (lost.status_code, lost.headers["Retry-After"]) == (503, "1")
    assert "did nothing" in lost.json()["detail"]
    assert again.status_code == 201
    assert await admin.available(item["id"]) == 0


async def test_a_check_out_whose_commit_is_not_answered_may_be_sent_again_and_says_so(
    postgres: Postgres, database: str
) -> None:
    async with relay(postgres.sockets) as between:
        settings = settings_for(postgres.url(database, SERVICE).replace(str(postgres.sockets), str(between.folder)))
        async with running(settings) as app, client_of(app) as api:
            await ready(api)
            await api.sign_in()
            item = await api.item(1)
            body = {"item_id": item["id"], "quantity": 1, "due_at": tomorrow()}

            between.loses_commits = True
            lost = await api.post("/api/v1/loans", body, Idempotency_Key="unanswered")
            read = await api.get(f"/api/v1/items/{item['id']}")
            between.loses_commits = False
            again = await api.post("/api/v1/loans", body, Idempotency_Key="unanswered")

            assert (lost.status_code, lost.headers["Retry-After"]) == (503, "1")
            assert lost.json()["type"] == "urn:inventory:problem:outcome-unknown"
            assert "did nothing" not in lost.json()["detail"]
            # What only reads has nothing to commit.
            assert read.status_code == 200
            assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
            assert await api.available(item["id"]) == 0


async def test_a_commit_that_the_server_refuses_did_nothing(admin: Api, postgres: Postgres, database: str) -> None:
    postgres.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'serialization_failure'; END $$;"
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON categories DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
        database=database,
    )

    answer = await admin.post("/api/v1/categories", {"name": "Tools"})

    assert (answer.status_code, answer.json()["type"]) == (503, "urn:inventory:problem:unavailable")
    assert "did nothing" in answer.json()["detail"]


async def test_a_refused_check_out_may_be_tried_again_with_its_key(admin: Api) -> None:
    item = await admin.item(1)
    loan = created(await admin.check_out(item["id"]))
    body = {"item_id": item["id"], "quantity": 1, "due_at": tomorrow()}

    refused = await admin.post("/api/v1/loans", body, Idempotency_Key="patient")
    await admin.post(f"/api/v1/loans/{loan['id']}/return")
    accepted = await admin.post("/api/v1/loans", body, Idempotency_Key="patient")

    assert (refused.status_code, accepted.status_code) == (409, 201)


async def test_keys_of_different_people_do_not_meet(admin: Api, member: Api) -> None:
    item = await admin.item(2)

    created(await admin.check_out(item["id"], "same"))
    created(await member.check_out(item["id"], "same"))

    assert await admin.available(item["id"]) == 0


async def test_a_check_out_needs_a_key(admin: Api) -> None:
    item = await admin.item(1)
    answer = await admin.post("/api/v1/loans", {"item_id": item["id"], "quantity": 1, "due_at": tomorrow()})

    assert answer.status_code == 422
    assert "Idempotency-Key" in json.dumps(answer.json()["errors"])


async def test_a_member_borrows_for_themselves_and_sees_only_their_own(admin: Api, member: Api) -> None:
    item = await admin.item(3)
    admins = created(await admin.check_out(item["id"]))
    members = created(await member.check_out(item["id"]))

    assert (await member.check_out(item["id"], user_id=admins["user_id"])).status_code == 403
    assert (await member.get(f"/api/v1/loans/{admins['id']}")).status_code == 404
    assert (await member.post(f"/api/v1/loans/{admins['id']}/return")).status_code == 404
    assert [loan["id"] for loan in (await member.get("/api/v1/loans")).json()["items"]] == [members["id"]]
    assert (await member.post(f"/api/v1/loans/{members['id']}/return")).status_code == 200
    assert (await member.post("/api/v1/items", {"name": "a", "sku": "b", "quantity": 1})).status_code == 403


async def test_staff_lend_to_others(admin: Api, member: Api) -> None:
    item = await admin.item(1)
    me = (await member.get("/api/v1/users/me")).json()

    loan = created(await admin.check_out(item["id"], user_id=me["id"]))

    assert loan["user_id"] == me["id"]
    assert (await member.post(f"/api/v1/loans/{loan['id']}/return")).status_code == 200


async def test_a_list_comes_in_pages_that_neither_skip_nor_repeat(admin: Api) -> None:
    expected = [(await admin.item())["id"] for _ in range(7)]
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await admin.get("/api/v1/items", params={"limit": 3, **({"cursor": cursor} if cursor else {})})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if len(seen) == 3:
            expected.append((await admin.item())["id"])

    assert seen == expected


async def test_open_and_returned_loans_can_be_listed_apart(admin: Api) -> None:
    item = await admin.item(2)
    kept, returned = created(await admin.check_out(item["id"])), created(await admin.check_out(item["id"]))
    await admin.post(f"/api/v1/loans/{returned['id']}/return")

    async def listed(query: str) -> list[int]:
        return [loan["id"] for loan in (await admin.get(f"/api/v1/loans?{query}")).json()["items"]]

    assert await listed(f"item_id={item['id']}&open=true") == [kept["id"]]
    assert await listed(f"item_id={item['id']}&open=false") == [returned["id"]]


async def waits_for_a_lock(postgres: Postgres) -> bool:
    return bool(postgres.execute("SELECT 1 FROM pg_locks WHERE NOT granted"))


async def test_a_part_comes_back_and_the_rest_later(admin: Api) -> None:
    item = (await admin.item(5))["id"]
    loan = created(await admin.check_out(item, quantity=4))
    path = f"/api/v1/loans/{loan['id']}/return"

    part = await admin.post(path, {"quantity": 3}, Idempotency_Key="part")
    again = await admin.post(path, {"quantity": 3}, Idempotency_Key="part")

    assert part.json() == again.json()
    assert (part.json()["outstanding"], part.json()["returned_at"]) == (1, None)
    assert await admin.available(item) == 4
    assert (await admin.post(path, {"quantity": 2}, Idempotency_Key="more")).status_code == 409
    assert (await admin.post(path)).json()["outstanding"] == 0
    assert await admin.available(item) == 5


async def test_a_part_without_a_key_is_refused_because_it_might_be_counted_twice(admin: Api) -> None:
    loan = created(await admin.check_out((await admin.item(2))["id"], quantity=2))

    answer = await admin.post(f"/api/v1/loans/{loan['id']}/return", {"quantity": 1})

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:idempotency-key-needed")


async def test_what_is_lost_is_owned_no_more(admin: Api, member: Api) -> None:
    item = (await admin.item(3))["id"]
    loan = created(await admin.check_out(item, quantity=2))
    path = f"/api/v1/loans/{loan['id']}/lost"

    assert (await member.post(path)).status_code == 403
    one = (await admin.post(path, {"quantity": 1, "reason": "stolen"}, Idempotency_Key="one")).json()
    assert (one["lost"], one["outstanding"]) == (1, 1)
    rest = (await admin.post(f"/api/v1/loans/{loan['id']}/return")).json()

    assert (rest["lost"], rest["returned"], rest["outstanding"]) == (1, 1, 0)
    assert (await admin.get(f"/api/v1/items/{item}")).json()["quantity"] == 2


async def test_a_borrower_renews_as_often_as_the_policy_allows_and_staff_go_on(admin: Api, member: Api) -> None:
    loan = created(await member.check_out((await admin.item(1))["id"]))

    async def renew(api: Api, day: int) -> int:
        due = f"2090-01-{day:02}T12:00:00Z"
        return (await api.post(f"/api/v1/loans/{loan['id']}/renew", {"due_at": due})).status_code

    assert [await renew(member, day) for day in (1, 1, 2)] == [200, 200, 200]
    assert await renew(member, 3) == 409
    assert await renew(admin, 4) == 200
    assert (await member.get(f"/api/v1/loans/{loan['id']}")).json()["renewals"] == 3


async def test_a_loan_that_is_over_is_not_renewed(admin: Api) -> None:
    loan = created(await admin.check_out((await admin.item(1))["id"]))
    await admin.post(f"/api/v1/loans/{loan['id']}/return")

    answer = await admin.post(f"/api/v1/loans/{loan['id']}/renew", {"due_at": tomorrow()})

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:returned")


async def test_overdue_loans_are_listed(admin: Api, postgres: Postgres, database: str) -> None:
    item = await admin.item(3)
    late, early, back = [created(await admin.check_out(item["id"]))["id"] for _ in range(3)]
    await admin.post(f"/api/v1/loans/{back}/return")
    postgres.execute(
        "UPDATE loans SET due_at = now() - interval '1 day' WHERE id = ANY(%s)", [late, back], database=database
    )

    async def listed(overdue: bool) -> list[int]:
        return [loan["id"] for loan in (await admin.get(f"/api/v1/loans?overdue={overdue}")).json()["items"]]

    assert (await listed(True), await listed(False)) == ([late], [early, back])
    assert (await admin.get(f"/api/v1/loans/{late}")).json()["overdue"] is True


async def test_what_is_lent_comes_from_where_most_is_and_goes_back_there_or_elsewhere(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(1))["id"]
    shelf = postgres.execute("INSERT INTO locations (name) VALUES ('Shelf') RETURNING id", database=database)[0][0]
    body = {"item_id": item, "quantity": 3, "location_id": shelf}
    created(await admin.post("/api/v1/stock/receive", body, Idempotency_Key="r"))

    async def on_hand() -> dict[int, int]:
        levels = (await admin.get(f"/api/v1/items/{item}/stock")).json()["levels"]
        return {level["location_id"]: level["on_hand"] for level in levels}

    loan = created(await admin.check_out(item, quantity=2))
    assert (loan["location_id"], await on_hand()) == (shelf, {1: 1, shelf: 1})
    await admin.post(f"/api/v1/loans/{loan['id']}/return", {"quantity": 1, "location_id": 1}, Idempotency_Key="1")
    assert await on_hand() == {1: 2, shelf: 1}
    await admin.post(f"/api/v1/loans/{loan['id']}/return")
    assert await on_hand() == {1: 2, shelf: 2}
