"""`inventory-api smoke`: one loan, there and back, as a caller from outside does it. Standard library only."""

import json
import os
import sys
import uuid
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

_PATIENCE_SECONDS = 15


class SmokeError(Exception):
    """What did not go as it should, in a sentence."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


def smoke(url: str) -> int:
    try:
        print(
            _lend_and_return(
                url.rstrip("/"), os.environ["INVENTORY_ADMIN_EMAIL"], os.environ["INVENTORY_ADMIN_PASSWORD"]
            )
        )
    except KeyError as missing:
        print(f"{missing.args[0]} must be set: the check signs in with it.", file=sys.stderr)
        return 1
    except SmokeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _lend_and_return(url: str, email: str, password: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise SmokeError(f"{url} is not an http or https address.")
    token = _call(url, "POST", "/api/v1/auth/token", {"email": email, "password": password})["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    mark = uuid.uuid4().hex[:12]
    item = _call(url, "POST", "/api/v1/items", {"name": "Smoke test", "sku": f"smoke-{mark}", "quantity": 1}, headers)
    due = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    loan = _call(
        url,
        "POST",
        "/api/v1/loans",
        {"item_id": item["id"], "quantity": 1, "due_at": due},
        {**headers, "Idempotency-Key": mark},
    )
    _expect_available(url, headers, item["id"], 0)
    _call(url, "POST", f"/api/v1/loans/{loan['id']}/return", {}, headers)
    _expect_available(url, headers, item["id"], 1)
    _archive(url, headers, item["id"])
    return f"Signed in, lent item {item['id']} and took it back."


def _archive(url: str, headers: dict[str, str], item_id: int) -> None:
    """Leaves nothing behind that could be lent."""
    try:
        _call(url, "POST", f"/api/v1/items/{item_id}/archive", None, headers)
    except SmokeError as error:
        # While a release is under way, one may answer that knows no archive.
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def _expect_available(url: str, headers: dict[str, str], item_id: int, expected: int) -> None:
    available = _call(url, "GET", f"/api/v1/items/{item_id}", None, headers)["available"]
    if available != expected:
        raise SmokeError(f"Item {item_id} should have {expected} available, but has {available}.")


def _call(url: str, method: str, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
    request = Request(  # noqa: S310 - checked to be http or https
        url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )
    try:
        with urlopen(request, timeout=_PATIENCE_SECONDS) as response:  # noqa: S310 - as above
            return json.load(response)
    except HTTPError as error:
        sentence = f"{method} {path} was answered with {error.code}: {error.read().decode()[:500]}"
        raise SmokeError(sentence, error.code) from error
    except (URLError, OSError) as error:
        raise SmokeError(f"{method} {path} was not answered: {error}") from error
