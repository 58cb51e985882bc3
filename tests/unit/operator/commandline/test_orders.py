"""The annotations that a person's orders become, and what they are told before something is lost for good."""

from collections.abc import Callable
from typing import Any

import pytest
from inventory_operator.commandline import orders
from inventory_operator.commandline.apps import App, parse
from inventory_operator.commandline.exits import Ended, Exit

from .objects import UID, at_rest, deployment, in_mid_canary, inventory_app


def failed() -> App:
    found = inventory_app(phase="Failed")
    return parse(found, [deployment(6, 4), deployment(7, 0, stage="failed")], [], [])


def contracted(**status: Any) -> App:
    return at_rest(contract=("c0001", "c0002"), **status)


@pytest.mark.parametrize(
    ("app", "make", "annotation"),
    [
        (in_mid_canary, lambda app: orders.promote(app, full=False), {"inventory.dev/promote": "7/2"}),
        (in_mid_canary, lambda app: orders.promote(app, full=True), {"inventory.dev/promote-full": "7"}),
        (in_mid_canary, orders.abort, {"inventory.dev/abort": "7"}),
        (failed, orders.retry, {"inventory.dev/retry": "7"}),
        (in_mid_canary, lambda app: orders.restart(app, "t1"), {"inventory.dev/restart": "6/t1"}),
        (at_rest, orders.contract, {"inventory.dev/contract": f"{UID}/7/1"}),
        (contracted, lambda app: orders.downgrade(app, 6), {"inventory.dev/downgrade": f"{UID}/6/1"}),
        (contracted, lambda app: orders.restore(app, 5), {"inventory.dev/restore": f"{UID}/5/1"}),
    ],
)
def test_an_order_names_what_it_is_for(
    app: Callable[[], App], make: Callable[[App], orders.Order], annotation: dict[str, str]
) -> None:
    order = make(app())
    assert order.annotation == annotation
    parts = order.value.removeprefix(f"{UID}/").split("/")
    assert str(order.revision) == parts[0]
    assert [str(number) for number in (order.step, order.operation) if number] == [n for n in parts[1:] if n != "t1"]


def test_the_next_work_on_the_database_has_the_next_number() -> None:
    done = {"kind": "contract", "number": 4, "stage": "done"}
    assert orders.restore(contracted(operation=done), 5).value == f"{UID}/5/5"
    assert orders.restore(contracted(operation=done | {"stage": "failed"}), 5).operation == 5


def test_no_work_is_ordered_while_another_is_under_way() -> None:
    going = {"kind": "contract", "number": 4, "stage": "running"}
    refused(lambda: orders.restore(contracted(operation=going), 5), Exit.REFUSED, "contract 4 is under way")


@pytest.mark.parametrize(
    "make", [orders.contract, lambda app: orders.downgrade(app, 6), lambda app: orders.restore(app, 5)]
)
def test_no_work_is_ordered_on_a_database_that_the_app_leaves_alone(make: Callable[[App], orders.Order]) -> None:
    app = contracted()
    del app.spec["migrations"]
    refused(lambda: make(app), Exit.REFUSED, "no spec.migrations")


def test_before_a_contract_a_person_reads_who_can_not_come_back() -> None:
    assert orders.contract(at_rest()).warning == (
        "The contract migration c0002 can be undone by no rollback. Revisions 5 and 6 can't come back after it. "
        "No backup is taken before: spec.migrations has none."
    )


def test_only_what_can_be_lost_wants_a_confirmation() -> None:
    harmless = [orders.abort(in_mid_canary()), orders.promote(in_mid_canary(), full=True), orders.retry(failed())]
    assert not any(order.warning for order in harmless)
    assert orders.downgrade(contracted(), 6).warning
    assert "all that was written since is lost" in orders.restore(contracted(), 5).warning


def test_what_makes_no_sense_is_said_and_not_ordered() -> None:
    refused(lambda: orders.promote(at_rest(), full=False), Exit.REFUSED, "no release on its way")
    refused(lambda: orders.abort(at_rest()), Exit.REFUSED, "no release on its way")
    refused(lambda: orders.retry(in_mid_canary()), Exit.REFUSED, "no failed release")
    refused(lambda: orders.contract(contracted()), Exit.DONE, "has all contract migrations of revision 7 already")
    refused(lambda: orders.downgrade(at_rest(), 6), Exit.DONE, "roll back to it")
    refused(lambda: orders.downgrade(at_rest(), 3), Exit.REFUSED, "kept: 7, 6 and 5")
    refused(lambda: orders.restore(at_rest(), 6), Exit.REFUSED, "there are backups of revision 5")


def refused(make: Callable[[], object], code: Exit, sentence: str) -> None:
    with pytest.raises(Ended, match=sentence) as ended:
        make()
    assert ended.value.code is code
