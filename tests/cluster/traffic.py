"""A steady client of the service, which checks every answer: no release may make one of its requests fail."""

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

WORKERS = 4
REQUESTS_PER_SECOND = 24.0
TIMEOUT_SECONDS = 20
STOCK = 5
PAGE = 200


class UnexpectedAnswerError(Exception):
    """An answer that a correct client did not ask for."""


@dataclass(frozen=True)
class Answer:
    """`at` is the monotonic time when it had come."""

    status: int
    release: str
    body: Any
    at: float


@dataclass(frozen=True)
class Failure:
    at: datetime
    request: str
    detail: str

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S.%f} {self.request}: {self.detail}"


class Client:
    """One kept-alive connection.

    A request whose kept-alive connection was closed on it is sent once more, on a fresh one (RFC 9110, 9.2.2): all
    requests made here are idempotent, a check-out by its key. Whatever else goes wrong is an error.
    """

    def __init__(self, address: str, host: str) -> None:
        parts = urlsplit(address)
        self._host = host
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS, blocksize=65536
        )
        self._used = False
        self.resent = 0
        self.token = ""

    def close(self) -> None:
        self._connection.close()
        self._used = False

    def sign_in(self, email: str, password: str) -> None:
        answer = self.call("POST", "/api/v1/auth/token", {"email": email, "password": password}, expect=200)
        self.token = answer.body["access_token"]

    def call(self, method: str, path: str, body: Any = None, *, key: str = "", expect: int) -> Answer:
        """Raises UnexpectedAnswerError, OSError, HTTPException."""
        headers = {"Host": self._host, "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if key:
            headers["Idempotency-Key"] = key
        content = None if body is None else json.dumps(body).encode()
        response = self._respond(method, path, content, headers)
        text = response.read()
        answered = time.monotonic()
        self._used = not response.will_close
        release = response.headers.get("X-Inventory-Release", "")
        if response.status != expect or not release:
            said = text[:300].decode(errors="replace")
            raise UnexpectedAnswerError(f"{response.status} from release {release or 'none'}: {said}")
        return Answer(response.status, release, json.loads(text), answered)

    def _respond(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        try:
            self._connection.request(method, path, content, headers)
            return self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            if not self._used:
                raise
        self.close()
        self.resent += 1
        self._connection.request(method, path, content, headers)
        return self._connection.getresponse()


class Traffic:
    """Workers that lend, look and take back, each an item of its own, so that it knows what every answer must be.

    As a context manager it raises AssertionError at its end if any request failed or the stock does not add up.
    """

    def __init__(self, address: str, host: str, email: str, password: str) -> None:
        self._workers = [Worker(Client(address, host), number) for number in range(WORKERS)]
        self._credentials = (email, password)

    def __enter__(self) -> Self:
        try:
            for worker in self._workers:
                worker.prepare(*self._credentials)
        except Exception:
            self._close()
            raise
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()
        try:
            if error is not None:
                error.add_note(self.report())
                return
            assert not self.failures, self.report()
            for worker in self._workers:
                worker.settle()
                assert worker.answers, self.report()
        finally:
            self._close()

    def _close(self) -> None:
        for worker in self._workers:
            worker.client.close()

    @property
    def failures(self) -> list[Failure]:
        return sorted((each for worker in self._workers for each in worker.failures), key=lambda each: each.at)

    @property
    def answers(self) -> list[tuple[float, str]]:
        """When each answer came, and the release that gave it."""
        return sorted(each for worker in self._workers for each in worker.answers)

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Raises AssertionError if the block was not under steady traffic all the while, or a request failed in it."""
        started = time.monotonic()
        yield
        ended = time.monotonic()
        inside = Counter(release for at, release in self.answers if started <= at <= ended)
        print(f"{what}: {ended - started:.1f} s, answers by release {dict(inside)}")
        assert inside.total() >= (ended - started) * REQUESTS_PER_SECOND / 3, f"too little traffic during {what}"
        assert not self.failures, f"during {what}: {self.report()}"

    def released(self) -> str:
        """The release that gave the newest answer."""
        return self.answers[-1][1]

    def report(self) -> str:
        by_release = dict(Counter(release for _, release in self.answers))
        resent = sum(worker.client.resent for worker in self._workers)
        lines = [f"traffic: answers by release {by_release}, {resent} resent, {len(self.failures)} failed"]
        return "\n  ".join([*lines, *map(str, self.failures[:10])])


class Worker(threading.Thread):
    """Lends one of its items, looks, takes it back, looks; at a steady pace, or as fast as the answers come."""

    def __init__(self, client: Client, number: int) -> None:
        super().__init__(daemon=True, name=f"traffic-{number}")
        self.client = client
        self.failures: list[Failure] = []
        self.answers: list[tuple[float, str]] = []
        self._stopping = threading.Event()
        self._item = 0
        self._lent = 0  # how many check-outs the service has confirmed
        self._doubtful = False  # after a failure, nobody knows whether a loan was made
        self._request = ""

    def prepare(self, email: str, password: str) -> None:
        self.client.sign_in(email, password)
        wanted = {"name": self.name, "sku": uuid.uuid4().hex, "quantity": STOCK}
        self._item = self.client.call("POST", "/api/v1/items", wanted, expect=201).body["id"]

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._round()
            except Exception as error:  # whatever it is, it is a request that failed
                self.failures.append(Failure(datetime.now(UTC), self._request, f"{type(error).__name__} {error}"))
                self._doubtful = True
                self.client.close()

    def settle(self) -> None:
        """Raises AssertionError unless each check-out that was confirmed made one loan, and all came back."""
        loans = self._loans()
        assert len(loans) == self._lent, f"{self.name}: {self._lent} check-outs made {len(loans)} loans"
        assert all(loan["returned_at"] for loan in loans), f"{self.name}: a loan is still open"
        self._expect_on_loan(0)

    def _round(self) -> None:
        due = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        wanted = {"item_id": self._item, "quantity": 2, "due_at": due}
        loan = self._call("POST", "/api/v1/loans", wanted, key=uuid.uuid4().hex, expect=201)
        self._lent += 1
        self._check(loan["item_id"] == self._item and loan["quantity"] == 2 and not loan["returned_at"], loan)
        self._expect_on_loan(2)
        returned = self._call("POST", f"/api/v1/loans/{loan['id']}/return", {}, expect=200)
        self._check(returned["id"] == loan["id"] and returned["returned_at"], returned)
        self._expect_on_loan(0)

    def _expect_on_loan(self, quantity: int) -> None:
        item = self._call("GET", f"/api/v1/items/{self._item}", expect=200)
        if not self._doubtful:
            self._check((item["on_loan"], item["available"]) == (quantity, STOCK - quantity), item)

    def _call(self, method: str, path: str, body: Any = None, *, key: str = "", expect: int) -> Any:
        pause = WORKERS / REQUESTS_PER_SECOND
        started = time.monotonic()
        self._request = f"{method} {path}"
        answer = self.client.call(method, path, body, key=key, expect=expect)
        self.answers.append((answer.at, answer.release))
        self._stopping.wait(max(0.0, pause - (time.monotonic() - started)))
        return answer.body

    def _check(self, right: object, body: Any) -> None:
        if not right:
            raise UnexpectedAnswerError(f"a wrong answer: {json.dumps(body)[:300]}")

    def _loans(self) -> list[Any]:
        found: list[Any] = []
        cursor = ""
        while True:
            path = f"/api/v1/loans?item_id={self._item}&limit={PAGE}{cursor}"
            page = self.client.call("GET", path, expect=200).body
            found += page["items"]
            if not page["next_cursor"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"
