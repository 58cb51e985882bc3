import json
from typing import Any

import pytest

from tests.integration.api.services import PASSWORD, Api, created, tomorrow

ITEM = {"name": "Drill", "sku": "bad-input", "quantity": 1}
LOAN = {"item_id": 1, "quantity": 1, "due_at": tomorrow()}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("items", {**ITEM, "colour": "red"}),
        ("items", {**ITEM, "name": ""}),
        ("items", {**ITEM, "name": " \u3000\n"}),
        ("items", {**ITEM, "name": "\x1c"}),
        ("items", {**ITEM, "name": "x" * 201}),
        ("items", {**ITEM, "name": "a\0b"}),
        ("items", {**ITEM, "quantity": -1}),
        ("items", {**ITEM, "quantity": 2**31}),
        ("items", {**ITEM, "quantity": 10**30}),
        ("items", {**ITEM, "quantity": "1"}),
        ("items", {**ITEM, "quantity": True}),
        ("items", {**ITEM, "quantity": 1.5}),
        ("items", {**ITEM, "quantity": 1e300}),
        ("items", {**ITEM, "category_id": 0}),
        ("items", {**ITEM, "category_id": 2**63}),
        ("items", {**ITEM, "tracking": "units"}),
        ("items", {**ITEM, "tracking": "kit"}),
        ("items", {**ITEM, "tracking": "kit", "quantity": 0, "minimum_stock": 1}),
        ("items", {**ITEM, "attributes": {f"a{number}": 1 for number in range(51)}}),
        ("items", {**ITEM, "attributes": {"a" * 65: 1}}),
        ("items", {**ITEM, "attributes": {"a": "x" * 501}}),
        ("items", {**ITEM, "attributes": {"a": "x" * 500, "b": "x" * 500, "c": "x" * 500, "d": "x" * 500}}),
        ("items", {**ITEM, "attributes": {"a": "\0"}}),
        ("items", {**ITEM, "attributes": {"a": None}}),
        ("items", {**ITEM, "attributes": {"a": [1]}}),
        ("items", {**ITEM, "attributes": {"a": {}}}),
        ("items", {**ITEM, "attributes": {"a": 10**30}}),
        ("items", {**ITEM, "attributes": {"": 1}}),
        ("items", {**ITEM, "photo_links": ["https://example.com/a.jpg"] * 21}),
        ("items", {**ITEM, "photo_links": ["ftp://example.com/a.jpg"]}),
        ("items", {**ITEM, "photo_links": ["javascript:alert(1)"]}),
        ("items", {**ITEM, "photo_links": ["https://"]}),
        ("items", {**ITEM, "photo_links": ["https://[/a.jpg"]}),
        ("items", {**ITEM, "photo_links": ["https://example.com/" + "x" * 400]}),
        ("items", {**ITEM, "photo_links": ["https://example.com/with space"]}),
        ("items", {**ITEM, "unit_value_cents": -1}),
        ("items", {**ITEM, "unit_value_cents": 10**13}),
        ("items", {**ITEM, "minimum_stock": -1}),
        ("items", {**ITEM, "description": "x" * 2001}),
        ("items", {**ITEM, "barcode": ""}),
        ("items", {**ITEM, "location_id": 0}),
        ("items", []),
        ("items", None),
        ("loans", {**LOAN, "due_at": "2020-01-01T00:00:00Z"}),
        ("loans", {**LOAN, "due_at": "9999-12-31T23:59:59-12:00"}),
        ("loans", {**LOAN, "due_at": "2030-01-01T00:00:00"}),
        ("loans", {**LOAN, "due_at": 10**20}),
        ("loans", {**LOAN, "due_at": 1_900_000_000}),
        ("loans", {**LOAN, "due_at": "1900000000"}),
        ("loans", {**LOAN, "due_at": 1.9e9}),
        ("loans", {**LOAN, "quantity": 0}),
        ("users", {"email": "no address", "name": "a", "password": "long enough"}),
        ("users", {"email": "a@b.example", "name": "a", "password": "short"}),
        ("users", {"email": "a@b.example", "name": "a", "password": "long enough", "role": "root"}),
        ("auth/refresh", {}),
        ("auth/refresh", {"refresh_token": ""}),
        ("auth/refresh", {"refresh_token": "a" * 201}),
        ("auth/refresh", {"refresh_token": "a\0"}),
        ("tokens", {"scopes": ["read"]}),
        ("tokens", {"name": "", "scopes": ["read"]}),
        ("tokens", {"name": "a"}),
        ("tokens", {"name": "a", "scopes": []}),
        ("tokens", {"name": "a", "scopes": ["everything"]}),
        ("tokens", {"name": "a", "scopes": ["read"] * 6}),
        ("tokens", {"name": "a", "scopes": ["read"], "user_id": 1}),
        ("tokens", {"name": "a", "scopes": ["read"], "expires_at": "2030-01-01T00:00:00"}),
    ],
)
async def test_what_is_out_of_bounds_is_refused_by_name(quiet_admin: Api, path: str, body: Any) -> None:
    answer = await quiet_admin.post(f"/api/v1/{path}", body, Idempotency_Key="k")

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["", "k" * 256, "with space", "ümlaut"])
async def test_a_key_has_bounds(quiet_admin: Api, key: str) -> None:
    answer = await quiet_admin.http.post("/api/v1/loans", json=LOAN, headers=[(b"Idempotency-Key", key.encode())])

    assert answer.status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=x",
        "cursor=%00",
        "cursor=aWQ6LTE",
        "cursor=aWQ6OTk5OTk5OTk5OTk5OTk5OTk5OTk5",
        "sort=colour",
    ],
)
async def test_a_list_refuses_what_it_does_not_know(quiet_admin: Api, query: str) -> None:
    assert (await quiet_admin.get(f"/api/v1/items?{query}")).status_code == 422


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": ""},
        {"name": "a\0"},
        {"email": "none"},
        {"role": "root"},
        {"role": None},
        {"active": "false"},
        {"active": 0},
        {"active": None},
        {"password": "long enough"},
        {"id": 7},
    ],
)
async def test_a_change_of_a_user_has_bounds(quiet_admin: Api, change: dict[str, Any]) -> None:
    answer = await quiet_admin.http.patch("/api/v1/users/1", json=change, headers={"If-Match": "*"})

    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("new", ["short", "x" * 129, "nul\0 in the midst", None])
async def test_a_new_password_has_bounds(quiet_admin: Api, new: str | None) -> None:
    own = {"current_password": PASSWORD, "new_password": new}
    assert (await quiet_admin.http.put("/api/v1/users/me/password", json=own)).status_code == 422
    assert (await quiet_admin.http.put("/api/v1/users/2/password", json={"new_password": new})).status_code == 422


@pytest.mark.parametrize(
    ("path", "queries"),
    [
        ("users", ["role=root", "active=perhaps", "q=", "q=%00", f"q={'x' * 101}", "text=a"]),
        ("tokens", ["user_id=0", "everybodys=perhaps", "limit=0", "scope=read"]),
        ("auth/sessions", ["limit=201", "cursor=x", "user_id=1"]),
        ("audit", ["limit=201", "cursor=x", "subject_id=0", "subject=", "action=%00", "since=yesterday", "user=1"]),
        ("audit", ["since=0.5", "since=1700000000", "until=-1"]),
        ("maintenance/due", ["until=0.5", "until=2030-01-01"]),
        ("security-events", ["limit=201", "cursor=x", "kind=other", "user_id=x", "until=%00"]),
    ],
)
async def test_a_question_has_bounds(quiet_admin: Api, path: str, queries: list[str]) -> None:
    for query in queries:
        assert (await quiet_admin.get(f"/api/v1/{path}?{query}")).status_code == 422, query


@pytest.mark.parametrize("identifier", ["0", "-1", "x", "9223372036854775808", "1.5"])
async def test_an_identifier_has_bounds(quiet_admin: Api, identifier: str) -> None:
    assert (await quiet_admin.get(f"/api/v1/items/{identifier}")).status_code == 422


@pytest.mark.usefixtures("app")  # an ingress refuses it already
async def test_an_identifier_holds_no_nul(admin: Api) -> None:
    assert (await admin.get("/api/v1/items/%00")).status_code == 422


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"name": "\\ud800", "sku": "a", "quantity": 1}', b"[" * 10_000, b"9" * 5000],
)
async def test_a_body_that_is_no_proper_json_is_refused(quiet_admin: Api, content: bytes) -> None:
    answer = await quiet_admin.http.post("/api/v1/items", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_may_only_be_so_large_however_it_is_sent(quiet_admin: Api) -> None:
    async def chunks() -> Any:
        for _ in range(70):
            yield b" " * 1000

    for content in (b" " * 70_000, chunks()):
        answer = await quiet_admin.http.post(
            "/api/v1/items", content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_method_that_a_path_does_not_have_is_refused_with_all_that_it_has(admin: Api) -> None:
    allowed = {
        path: await admin.http.put(f"/api/v1/{path}")
        for path in ("items", "items/1", "users/me", "users/1", "auth/token")
    }

    assert {answer.status_code for answer in allowed.values()} == {405}
    assert {path: answer.headers["Allow"] for path, answer in allowed.items()} == {
        "items": "GET, POST",
        "items/1": "DELETE, GET, PATCH",
        "users/me": "GET",
        "users/1": "GET, PATCH",
        "auth/token": "POST",
    }


async def test_the_error_names_each_field_and_the_request(quiet_admin: Api) -> None:
    answer = await quiet_admin.http.post("/api/v1/items", json={"name": ""}, headers={"X-Request-ID": "mine-1"})
    body = answer.json()

    assert {error["field"] for error in body["errors"]} == {"name", "sku", "quantity"}
    assert (body["type"], body["status"]) == ("urn:inventory:problem:invalid-request", 422)
    assert body["request_id"] == answer.headers["X-Request-ID"] == "mine-1"


async def test_an_address_that_nothing_can_parse_is_refused_in_words_of_ours(admin: Api) -> None:
    answer = await admin.post("/api/v1/items", {**ITEM, "photo_links": ["https://[/a.jpg"]})

    assert answer.json()["errors"] == [{"field": "photo_links.0", "message": "must be an http or https address"}]


async def test_of_countless_errors_a_few_are_listed_and_all_are_counted(quiet_admin: Api) -> None:
    unknown = {f"f{number}": 0 for number in range(1000)}

    answer = await quiet_admin.post("/api/v1/auth/token", {"email": "a@b.example", "password": "wrong", **unknown})

    assert len(answer.json()["errors"]) == 20
    assert "1000 errors" in answer.json()["detail"]
    assert len(answer.content) < 3000


async def test_a_number_without_a_fraction_is_an_integer_however_it_is_written(admin: Api) -> None:
    content = b'{"name": "Drill", "sku": "whole", "quantity": 3.0, "minimum_stock": 1e1, "unit_value_cents": 5.50e2}'

    item = created(
        await admin.http.post("/api/v1/items", content=content, headers={"Content-Type": "application/json"})
    )

    assert (item["quantity"], item["minimum_stock"], item["unit_value_cents"]) == (3, 10, 550)


async def test_the_largest_input_that_is_allowed_fits_into_a_body(quiet_admin: Api) -> None:
    widest = "\N{GRINNING FACE}"
    user = {"email": f"{widest * 252}@b", "name": widest * 200, "role": "member", "password": widest * 128}
    item = {
        "name": widest * 200,
        "sku": widest * 64,
        "quantity": 0,
        "barcode": widest * 100,
        "description": widest * 2000,
        "attributes": {f"{number:02}" + widest * 38: "" for number in range(50)},
        "photo_links": ["https://example.com/".ljust(400, "x")] * 20,
    }
    for path, body in (("users", user), ("items", item)):
        escaped = json.dumps(body, ensure_ascii=True)
        headers = {"Content-Type": "application/json"}
        created(await quiet_admin.http.post(f"/api/v1/{path}", content=escaped, headers=headers))


async def test_what_is_not_there_and_what_is_not_allowed_are_problems_too(quiet_admin: Api) -> None:
    answers = [
        await quiet_admin.get("/api/v1/items/999999"),
        await quiet_admin.get("/api/v1/nothing"),
        await quiet_admin.http.delete("/api/v1/items"),
        await quiet_admin.check_out(999999),
        await quiet_admin.check_out(1, user_id=999999),
        await quiet_admin.post("/api/v1/items", {**ITEM, "category_id": 999999}),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 405, 404, 404, 404]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}


@pytest.mark.parametrize("path", ["auth/token/", "items/", "items/1/", "loans/1/return/"])
async def test_a_slash_at_the_end_is_another_path_and_redirects_nowhere(quiet_admin: Api, path: str) -> None:
    for answer in (await quiet_admin.get(f"/api/v1/{path}"), await quiet_admin.post(f"/api/v1/{path}", ITEM)):
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_a_sku_is_taken_once(quiet_admin: Api) -> None:
    await quiet_admin.item(sku="same")

    answer = await quiet_admin.post("/api/v1/items", {**ITEM, "sku": "same"})

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:sku-taken")
