"""What is sure to be accepted: things made for one request, where chance alone doesn't find what goes together."""

import os
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from schemathesis import Case


@dataclass(frozen=True)
class Known:
    """What takes the place of what was made up; of a body, `left_out` goes."""

    path: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()


class KnownThings:
    """Makes every other valid request of an operation one that is accepted, the first one too."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    def fill_in(self, operation: str, case: Case[Any]) -> None:
        if operation not in MAKERS:
            return
        self._requests[operation] += 1
        if self._requests[operation] % 2:
            known = MAKERS[operation](_Asker())
            case.path_parameters = {**(case.path_parameters or {}), **known.path}
            case.headers.update(known.headers)
            if isinstance(case.body, dict):
                kept = {name: value for name, value in case.body.items() if name not in known.left_out}
                case.body = {**kept, **known.body}


class _Asker:
    """Who asks, in a session of its own: the one of the requests may be over."""

    def __init__(self) -> None:
        self._url = os.environ["FUZZ_URL"] + "/api/v1"
        given = {"email": os.environ["FUZZ_EMAIL"], "password": os.environ["FUZZ_PASSWORD"]}
        self.tokens = self._sent("/auth/token", given, {})

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}", "Idempotency-Key": uuid.uuid4().hex}
        return self._sent(path, body, headers)

    def item(self, **more: Any) -> int:
        return int(self.make("/items", {"name": "Known", "sku": uuid.uuid4().hex, "quantity": 0, **more})["id"])

    def stocktake(self) -> int:
        location = self.make("/locations", {"name": uuid.uuid4().hex})
        return int(self.make("/stocktakes", {"location_id": location["id"]})["id"])

    def _sent(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        answer = requests.post(self._url + path, json=body, headers=headers, timeout=30)
        answer.raise_for_status()
        made: dict[str, Any] = answer.json()
        return made


def _counted(asker: _Asker) -> Known:
    return Known(
        path={"stocktake_id": asker.stocktake()},
        body={"item_id": asker.item()},
        left_out=frozenset({"unit_id", "code"}),
    )


def _scan(asker: _Asker) -> Known:
    stocktake = asker.stocktake()
    scan = asker.make(f"/stocktakes/{stocktake}/scans", {"item_id": asker.item()})
    return Known(path={"stocktake_id": stocktake, "scan_id": scan["id"]})


def _kit(asker: _Asker) -> Known:
    return Known(
        path={"item_id": asker.item(tracking="kit")},
        headers={"If-Match": '"1"'},
        body={"parts": [{"item_id": asker.item(), "quantity": 2}]},
    )


MAKERS: Final[dict[str, Callable[[_Asker], Known]]] = {
    # One with stock has a history, for which it stays.
    "delete_item": lambda asker: Known(path={"item_id": asker.item()}),
    "set_item_parts": _kit,
    "refresh_session": lambda asker: Known(body={"refresh_token": asker.tokens["refresh_token"]}),
    "add_scan": _counted,
    "set_count": _counted,
    "undo_scan": _scan,
}
