"""Whatever many callers do to one item at once, in whatever order: no piece is given out twice, and every figure is
what the ledger adds up to. A machine draws what they do; the real service does it on a real PostgreSQL.
"""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from inventory_api.ledger import repository as ledger

from tests.integration.api.services import Api, client_of, created, ready, running, settings_for
from tests.integration.stores import SERVICE, Postgres

FIRST, SECOND = 1, 2
AT_ONCE = 12
Run = Callable[[Coroutine[Any, Any, Any]], Any]

# What one caller does: a kind, how many pieces, and which of what is there to choose from.
deeds = st.tuples(
    st.sampled_from(["lend", "lend", "return", "lose", "move", "write off", "adjust", "reserve", "cancel", "receive"]),
    st.integers(1, 3),
    st.integers(0, 50),
)


class Everybody:
    """All who use one item, and what they know of it from the answers that they got."""

    def __init__(self, api: Api, item: int) -> None:
        self.api = api
        self.item = item
        self.owned = 0
        """Received, less what was written off or adjusted away; what was lost on loan the loans tell."""
        self.loans: set[int] = set()
        self.reservations: list[int] = []

    async def do(self, kind: str, quantity: int, choice: int) -> None:
        answer = await self._answer(kind, quantity, choice)
        assert answer is None or answer.status_code in (200, 201, 409), answer.text

    async def _answer(self, kind: str, quantity: int, choice: int) -> httpx.Response | None:
        here, there = (FIRST, SECOND) if choice % 2 else (SECOND, FIRST)
        if kind == "lend":
            answer = await self.api.check_out(self.item, quantity=quantity)
            if answer.status_code == 201:
                self.loans.add(answer.json()["id"])
            return answer
        if kind in ("return", "lose"):
            return await self._end(kind, quantity, choice)
        if kind == "reserve":
            starts = datetime.now(UTC) + timedelta(hours=choice)
            times = {"starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=choice + 1)).isoformat()}
            answer = await self._post("reservations", quantity=quantity, **(times if choice > 10 else {}))
            if answer.status_code == 201:
                self.reservations.append(answer.json()["id"])
            return answer
        if kind == "cancel":
            if not self.reservations:
                return None
            chosen = self.reservations[choice % len(self.reservations)]
            return await self.api.post(f"/api/v1/reservations/{chosen}/cancel")
        if kind == "move":
            return await self._post("stock/move", quantity=quantity, from_location_id=here, to_location_id=there)
        if kind == "receive":
            answer = await self._post("stock/receive", quantity=quantity, location_id=here)
            self.owned += quantity
            return answer
        if kind == "adjust":
            answer = await self._post("stock/adjust", difference=-quantity, location_id=here, reason="miscounted")
        else:
            answer = await self._post("stock/write-off", quantity=quantity, location_id=here, reason="broken")
        if answer.status_code == 201:
            self.owned -= quantity
        return answer

    async def _end(self, kind: str, quantity: int, choice: int) -> httpx.Response | None:
        if not self.loans:
            return None
        loan = sorted(self.loans)[choice % len(self.loans)]
        path = f"/api/v1/loans/{loan}/{'return' if kind == 'return' else 'lost'}"
        return await self.api.post(path, {"quantity": quantity}, Idempotency_Key=uuid.uuid4().hex)

    async def _post(self, path: str, **body: Any) -> httpx.Response:
        return await self.api.post(f"/api/v1/{path}", {"item_id": self.item, **body}, Idempotency_Key=uuid.uuid4().hex)


class StockMachine(RuleBasedStateMachine):
    run: Run
    api: Api
    differences: Callable[[], Coroutine[Any, Any, Any]]

    @initialize(pieces=st.integers(0, 6))
    def begin(self, pieces: int) -> None:
        self.everybody = Everybody(self.api, self.run(self.api.item(pieces))["id"])
        self.everybody.owned = pieces

    @rule(burst=st.lists(deeds, min_size=1, max_size=AT_ONCE))
    def all_at_once(self, burst: list[tuple[str, int, int]]) -> None:
        async def together() -> None:
            await asyncio.gather(*(self.everybody.do(*deed) for deed in burst))

        self.run(together())

    @invariant()
    def every_figure_is_what_the_answers_add_up_to(self) -> None:
        if not hasattr(self, "everybody"):
            return
        self.run(self._compare())

    async def _compare(self) -> None:
        everybody, api = self.everybody, self.api
        item = (await api.get(f"/api/v1/items/{everybody.item}")).json()
        levels = (await api.get(f"/api/v1/items/{everybody.item}/stock")).json()["levels"]
        loans = (await api.get("/api/v1/loans", params={"item_id": everybody.item, "limit": 200})).json()["items"]
        assert {loan["id"] for loan in loans} == everybody.loans
        out = sum(loan["outstanding"] for loan in loans)
        assert item["quantity"] == everybody.owned - sum(loan["lost"] for loan in loans)
        assert item["on_loan"] == out == sum(level["on_loan"] for level in levels)
        assert 0 <= item["available"] == sum(level["available"] for level in levels)
        assert sum(level["on_hand"] for level in levels) == item["quantity"] - out
        assert await self.differences() == []


@pytest.fixture(scope="module")
def machine(postgres: Postgres) -> Iterator[type[StockMachine]]:
    """The service in a loop of its own, for Hypothesis knows none."""
    name = postgres.migrated_database()
    postgres.execute("INSERT INTO locations (name) VALUES ('Second')", database=name)
    with asyncio.Runner() as runner:
        app_lives = running(settings_for(postgres.url(name, SERVICE), reservations_per_person=10_000))
        app = runner.run(app_lives.__aenter__())
        client_lives = client_of(app)
        api = runner.run(client_lives.__aenter__())
        runner.run(ready(api))
        runner.run(api.sign_in())

        async def differences() -> Any:
            async with app.state.resources.database.transaction() as session:
                return await ledger.differences(session)

        class Machine(StockMachine):
            pass

        Machine.run, Machine.api, Machine.differences = runner.run, api, staticmethod(differences)
        yield Machine
        runner.run(client_lives.__aexit__(None, None, None))
        runner.run(app_lives.__aexit__(None, None, None))
    postgres.drop(name)


def test_no_piece_is_given_out_twice_and_every_figure_is_right(machine: type[StockMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=6,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.parametrize("pieces", [1, 7])
async def test_of_a_hundred_at_once_exactly_as_many_succeed_as_there_are_pieces(admin: Api, pieces: int) -> None:
    item = (await admin.item(pieces))["id"]
    there = created(await admin.post("/api/v1/locations", {"name": "There"}))["id"]
    body = {"item_id": item, "quantity": 1}

    async def takes(number: int) -> httpx.Response:
        key = f"{pieces}-{number}"
        if number % 4 == 0:
            return await admin.post(
                "/api/v1/stock/write-off", {**body, "location_id": 1, "reason": "x"}, Idempotency_Key=key
            )
        if number % 4 == 1:
            move = {**body, "from_location_id": 1, "to_location_id": there}
            return await admin.post("/api/v1/stock/move", move, Idempotency_Key=key)
        return await admin.check_out(item, key, location_id=1)

    order = list(range(100))
    random.Random(pieces).shuffle(order)
    answers = await asyncio.gather(*(takes(number) for number in order))

    assert Counter(answer.status_code for answer in answers) == {201: pieces, 409: 100 - pieces}
