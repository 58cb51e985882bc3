"""What the status says of an order: never that something is on its way of which nothing will come."""

from dataclasses import replace

import pytest
from inventory_operator.model import Pause, SetWeight, Strategy

from .test_operations import NEW, before_contract, go, order
from .world import World, a_report, served

STEPS = (SetWeight(50), Pause(), SetWeight(80), Pause())


def pausing(*, freeze: bool = False) -> World:
    """Revision 2 waits at step 2 of 4."""
    world = served(strategy=Strategy("canary", steps=STEPS), freeze=freeze)
    world.want(image=NEW)
    for _ in range(12):
        world.step()
        world.ready()
        if any(job.active for job in world.jobs.values()):
            world.finish_job(a_report())
    assert (world.target.record.revision, world.target.record.step) == (2, 1)
    return world


def failed(*, freeze: bool = False) -> World:
    """Its pods are lost at step 3, and do not come back in time."""
    world = pausing(freeze=freeze)
    order(world, promote="2/2")
    world.step()
    lose_pods(world)
    assert world.target.record.reason == "ProgressDeadlineExceeded"
    return world


def lose_pods(world: World) -> None:
    for seconds in (1, 600, 1):
        world.deployments[world.target.release] = replace(world.target, ready=0)
        world.pass_time(seconds)
        world.step()


def states(world: World, **commands: str) -> dict[str, str]:
    order(world, **{name.replace("_", "-"): value for name, value in commands.items()})
    return {each.command: each.state for each in world.step().commands}


def test_the_next_step_is_promoted_and_one_that_is_past_was() -> None:
    assert states(pausing(), promote="2/2") == {"promote": "Taken"}
    world = pausing()
    states(world, promote="2/2")
    assert states(world, promote="2/2") == {"promote": "Done"}
    assert states(world, promote="2/9") == {"promote": "Awaited"}


def test_an_order_for_what_is_not_on_its_way_is_stale_and_nothing_comes_of_it() -> None:
    world = served()
    orders = {"promote": "1/1", "promote_full": "1", "abort": "1", "retry": "1"}
    assert set(states(world, **orders).values()) == {"Stale"}
    assert not world.step().actions


@pytest.mark.parametrize(
    ("command", "value", "state"),
    [
        ("abort", "2", "Done"),
        ("promote", "2/3", "Stale"),
        ("promote", "2/2", "Done"),
        ("promote_full", "2", "Stale"),
    ],
)
def test_of_a_failed_release_nothing_is_said_to_be_on_its_way(command: str, value: str, state: str) -> None:
    assert list(states(failed(), **{command: value}).values()) == [state]


@pytest.mark.parametrize(("command", "value"), [("abort", "2"), ("promote", "2/3"), ("promote_full", "2")])
def test_of_a_frozen_release_a_person_decides(command: str, value: str) -> None:
    assert list(states(failed(freeze=True), **{command: value}).values()) == ["Taken"]


def test_a_release_that_was_promoted_in_full_and_failed_all_the_same_has_had_that_order() -> None:
    world = pausing()
    assert states(world, promote_full="2") == {"promote-full": "Taken"}
    lose_pods(world)
    assert world.target.record.reason == "ProgressDeadlineExceeded"
    assert states(world, promote_full="2") == {"promote-full": "Done"}


def test_work_on_the_database_of_an_app_without_migrations_is_refused_once() -> None:
    world = served(migrations=None)
    assert states(world, contract="uid-1/1/1") == {"contract": "Refused"}
    assert [event.reason for event in world.events].count("CommandRefused") == 1
    world.want(status={"commands": [{"command": "contract", "value": "uid-1/1/1", "state": "Refused"}]})
    world.step()
    assert [event.reason for event in world.events].count("CommandRefused") == 1


@pytest.mark.parametrize(("stage", "state"), [("done", "Done"), ("failed", "Failed"), ("running", "Stale")])
def test_what_became_of_an_operation_is_still_told_when_its_release_is_forgotten(stage: str, state: str) -> None:
    world = served()
    world.want(status={"operation": {"kind": "contract", "number": 3, "stage": stage, "message": "So it ended."}})
    assert states(world, contract="uid-1/1/3") == {"contract": state}
    assert states(world, contract="uid-1/1/2") == {"contract": "Stale"}


def test_a_contract_waits_for_what_the_spec_asks_for() -> None:
    world = before_contract()
    world.want(image="registry.test/api:3", commands={"contract": "uid-1/2/1"})
    [told] = go(world).commands
    assert (told.state, told.message) == ("Awaited", "It waits until what the spec asks for serves.")


@pytest.mark.parametrize("value", ["", "2", "2/x", "2/1/1"])
def test_an_order_that_has_no_such_form_is_refused_and_its_form_is_told(value: str) -> None:
    world = pausing()
    order(world, promote=value)
    [told] = world.step().commands
    assert (told.state, told.message) == ("Refused", "inventory.dev/promote has the form <revision>/<step>.")
