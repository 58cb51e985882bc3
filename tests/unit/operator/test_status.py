"""Conditions by kstatus."""

from dataclasses import replace
from datetime import timedelta

from inventory_operator.status import in_trouble, status

from .world import START, World, a_report, served

NEW = "registry.test/api:2"


def conditions(world: World) -> dict[str, str]:
    decided = world.step()
    found = status(world.observed(), decided, world.now)
    return {c["type"]: c["status"] for c in found["conditions"]}


def test_a_serving_app_is_ready() -> None:
    assert conditions(served()) == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "SchemaCurrent": "True",
    }


def test_a_release_under_way_is_reconciling_and_not_ready() -> None:
    world = served()
    world.want(image=NEW)
    found = conditions(world)
    assert (found["Ready"], found["Reconciling"], found["Stalled"]) == ("False", "True", "False")


def test_a_blocked_release_is_stalled_so_that_a_waiting_helm_ends_at_once() -> None:
    world = served()
    world.want(image=NEW)
    world.step()
    world.step()
    world.finish_job(a_report("failed", error="no"), failed=True)
    world.settle()
    found = conditions(world)
    assert (found["Ready"], found["Reconciling"], found["Stalled"]) == ("False", "False", "True")


def test_the_generation_is_a_number_in_the_first_write_and_so_are_selector_and_replicas() -> None:
    world = World()
    found = status(world.observed(), world.step(), START)
    assert found["observedGeneration"] == 1
    assert found["replicas"] == 0
    assert found["selector"] == "inventory.dev/app=inventory,app.kubernetes.io/component=service"


def test_a_steady_app_has_an_equal_status_at_any_later_time() -> None:
    world = served()
    first = status(world.observed(), world.step(), world.now)
    world.app = replace(world.app, status=first)
    assert status(world.observed(), world.step(), world.now + timedelta(days=1)) == first


def test_the_history_remembers_releases_that_are_gone_and_old_content_under_both_numbers() -> None:
    world = served()
    old = dict(world.app.content)
    for image in (NEW, None):
        world.app = replace(world.app, status=status(world.observed(), world.step(), world.now))
        world.want(**({"image": image} if image else {"content": old}))
        world.settle()
    found = status(world.observed(), world.step(), world.now)
    assert [(e["revision"], e["outcome"]) for e in found["history"]] == [
        (3, "Stable"),
        (2, "Superseded"),
        (1, "Superseded"),
    ]


def test_what_the_api_server_refuses_is_stalled_with_its_own_words() -> None:
    found = in_trouble(served().app, "InvalidSpec", "The spec was refused: no such volume", START, fails=True)
    stalled = next(c for c in found["conditions"] if c["type"] == "Stalled")
    assert stalled["status"] == "True"
    assert "no such volume" in stalled["message"]


def test_what_may_be_over_at_the_next_attempt_changes_nothing_but_what_is_under_way() -> None:
    world = served()
    app = replace(world.app, status=status(world.observed(), world.step(), START))
    before, found = app.status, in_trouble(app, "ApiError", "It can't be done.", START, fails=False)
    assert found["message"] == "It can't be done."
    changed = [c["type"] for c in found["conditions"] if c not in before["conditions"]]
    assert (changed, len(found["conditions"])) == (["Reconciling"], len(before["conditions"]))
    assert {key: found[key] for key in before if key not in ("message", "conditions")} == {
        key: before[key] for key in before if key not in ("message", "conditions")
    }


def test_a_pause_in_mid_release_is_ready_as_long_as_anything_serves() -> None:
    world = World()
    world.step()
    world.step()
    world.finish_job(a_report())
    world.step()
    world.step()
    world.want(paused=True)
    world.step()
    assert conditions(world)["Ready"] == "False"
    world.ready()
    found = conditions(world)
    assert (found["Ready"], found["Reconciling"], found["Stalled"]) == ("True", "False", "False")
