"""The log of a service in a process of its own, through sign-ins and all that can go wrong."""

import base64
import json
from collections import Counter
from pathlib import Path

import httpx

from tests.integration.api.services import EMAIL, PASSWORD, SECRET_KEY, served
from tests.integration.stores import SERVICE, running_postgres

DATABASE_PASSWORD, WRONG_PASSWORD, COOKIE = "horse-battery", "staple correct", "session=0123456789abcdef"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_each_request_has_one_line_and_no_line_has_a_secret(redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running_postgres() as postgres:
        database = postgres.migrated_database()
        url = postgres.url(database, SERVICE).replace(f"{SERVICE}:", f"{SERVICE}:{DATABASE_PASSWORD}")
        assert DATABASE_PASSWORD in url
        with (
            served(url, log, INVENTORY_REDIS_URL=redis_url, INVENTORY_LOG_LEVEL="DEBUG") as service,
            httpx.Client(base_url=service.url, timeout=20, headers={"Cookie": COOKIE}) as http,
        ):
            credentials = {"email": EMAIL, "password": PASSWORD}
            signed_in = http.post("/api/v1/auth/token", json=credentials)
            token = signed_in.json()["access_token"]
            basic = base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()
            bearer = {"Authorization": f"Bearer {token}"}
            someone = {"email": "new@example.com", "name": "New", "password": WRONG_PASSWORD}
            answers = [
                signed_in,
                http.post("/api/v1/auth/token", json={**credentials, "password": WRONG_PASSWORD}),
                http.post("/api/v1/auth/token", json={**credentials, "password": [WRONG_PASSWORD]}),
                http.post("/api/v1/auth/token", content=f'{{"password": "{WRONG_PASSWORD}"'),
                http.post(f"/api/v1/auth/token?password={WRONG_PASSWORD}&token={token}", json=credentials),
                http.post("/api/v1/users", json=someone, headers=bearer),
                http.post("/api/v1/users", json={**someone, "role": "root"}, headers=bearer),
                http.get("/api/v1/items", headers=bearer),
                http.get("/api/v1/items", headers={"Authorization": f"Basic {basic}"}),
                http.get("/api/v1/items", headers={"Authorization": f"Bearer {token}x"}),
                http.get("/nothing", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", **bearer}),
            ]
            postgres.execute("ALTER TABLE items RENAME TO elsewhere", database=database)
            answers.append(http.get("/api/v1/items", headers=bearer))
            postgres.stop()
            answers.append(http.get("/api/v1/items", headers=bearer))
            answers.append(http.post("/api/v1/auth/token", json=credentials))
            postgres.start()
            service.terminate()
            assert service.exit_code() == 0

    written = log.read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    requests = [line for line in lines if line["event"] == "request" and line["path"] != "/readyz"]
    assert [line["status"] for line in requests] == [answer.status_code for answer in answers]
    assert {line["status"] for line in requests} == {200, 201, 401, 404, 422, 500, 503}
    identifiers = Counter(line["request_id"] for line in requests)
    assert identifiers == Counter(answer.headers["X-Request-ID"] for answer in answers)
    assert max(identifiers.values()) == 1
    assert {"path": "/nothing", "route": "unmatched", "trace_id": TRACE}.items() <= requests[10].items()
    assert requests[7]["user_id"] == 1
    assert "user_id" not in requests[1]
    assert [line.get("problem") for line in requests[1:4]] == [
        "wrong-credentials",
        "invalid-request",
        "invalid-request",
    ]
    assert "UndefinedTable" in requests[11]["exception"]
    assert (requests[12]["level"], "cause" in requests[12]) == ("warning", True)
    for secret in (PASSWORD, WRONG_PASSWORD, DATABASE_PASSWORD, SECRET_KEY, token, basic, COOKIE, "argon2"):
        assert secret not in written
