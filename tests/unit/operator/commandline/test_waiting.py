"""When `--wait` ends, and how."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from inventory_operator import status as operator
from inventory_operator.commandline.apps import App
from inventory_operator.commandline.exits import Exit
from inventory_operator.commandline.waiting import Awaited, Verdict, answer, judge, wait
from inventory_operator.kube import UnreachableError

from ..world import World, a_report, an_app
from .objects import HASHES, at_rest, conditions, inventory_app

Object = dict[str, Any]

RELEASE = Awaited(release=HASHES[7], generation=3)


def stands(**status: Any) -> App:
    return App(inventory_app(7, **status))


SERVES: Object = {"phase": "Healthy", "stableRevision": 7, "stableRelease": HASHES[7], "candidateRevision": None}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (SERVES, Exit.DONE),
        ({"phase": "Failed", "conditions": conditions(Stalled=True)}, Exit.REFUSED),
        ({"phase": "Paused", "conditions": conditions(Ready=True)}, Exit.WAITS),
        ({"phase": "Progressing", "conditions": conditions(Reconciling=True)}, None),
        (SERVES | {"observedGeneration": 2}, None),
        (SERVES | {"conditions": conditions(Reconciling=True)}, None),
        ({"phase": "Healthy", "stableRelease": HASHES[6], "conditions": conditions(Ready=True)}, None),
        ({"observedGeneration": -1, "phase": None, "message": None, "conditions": []}, None),
    ],
)
def test_a_release_is_complete_has_failed_waits_for_a_person_or_goes_on(status: Object, code: Exit | None) -> None:
    assert judge(stands(**status), RELEASE).code is code


def test_a_release_that_another_change_has_overtaken_does_not_wait_for_ever() -> None:
    verdict = judge(App(inventory_app(6)), RELEASE)
    assert verdict == Verdict(Exit.REFUSED, "somebody has asked for another release meanwhile")


def said(state: str, command: str = "promote", value: str = "7/2") -> list[Object]:
    return [{"command": command, "value": value, "state": state, "message": f"It is {state}."}]


@pytest.mark.parametrize(
    ("command", "value", "state", "code"),
    [
        ("restart", "1/today", "Done", Exit.DONE),
        ("contract", "uid-1/1/1", "Taken", Exit.DONE),
        ("contract", "uid-1/1/7", "Awaited", None),
        ("contract", "uid-1/9/1", "Failed", Exit.REFUSED),
        ("downgrade", "uid-1/1/1", "Failed", Exit.REFUSED),
        ("restore", "uid-1/1/1", "Failed", Exit.REFUSED),
        ("contract", "uid-0/1/1", "Refused", Exit.REFUSED),
        ("restart", "1", "Refused", Exit.REFUSED),
        ("retry", "1", "Stale", Exit.REFUSED),
    ],
)
def test_the_operators_word_on_an_order_is_passed_on(command: str, value: str, state: str, code: Exit | None) -> None:
    world = before_contract()
    world.want(commands={command: value})
    app = told(world)
    [said] = app.status["commands"]
    assert said["state"] == state
    assert answer(app, Awaited(command=command, value=value, revision=1)) == Verdict(code, said["message"])


def test_the_word_on_an_earlier_order_is_no_answer() -> None:
    order = Awaited(command="promote", value="7/2", revision=7, step=2)
    assert answer(stands(commands=said("Done", value="7/1")), order).code is None


@pytest.mark.parametrize(
    ("order", "status"),
    [
        (Awaited(command="promote", value="7/2", revision=7, step=2), {"step": 3}),
        (Awaited(command="promote", value="7/4", revision=7, step=4), SERVES),
        (Awaited(command="promote-full", value="7", revision=7), SERVES),
        (Awaited(command="abort", value="7", revision=7), {"candidateRevision": None}),
        (Awaited(command="retry", value="7", revision=7), {"candidateRevision": 8}),
    ],
)
def test_an_order_that_was_carried_out_unseen_is_not_called_stale(order: Awaited, status: Object) -> None:
    status = status | {"commands": said("Stale", order.command, order.value)}
    assert answer(stands(**status), order).code is Exit.DONE


def test_a_promotion_waits_on_to_the_next_thing_that_a_person_decides() -> None:
    order = Awaited(command="promote", value="7/2", revision=7, step=2)
    going = {"phase": "Progressing", "step": 3, "conditions": conditions(Reconciling=True)}
    assert judge(stands(), order).code is None
    assert judge(stands(**going), order).code is None
    assert judge(stands(**going | {"conditions": conditions(Ready=True)}), order).code is None
    assert judge(stands(**going | {"phase": "Paused", "step": 4}), order).code is Exit.WAITS
    assert judge(stands(**SERVES), order).code is Exit.DONE


def test_an_abort_is_complete_when_nothing_is_under_way_although_the_release_counts_as_failed() -> None:
    order = Awaited(command="abort", value="7", revision=7)
    taken = {"commands": said("Taken", "abort", "7")}
    assert judge(stands(**taken, phase="Progressing"), order).code is None
    assert judge(stands(**taken, phase="Failed", conditions=conditions(Stalled=True)), order).code is Exit.DONE


@pytest.mark.parametrize(
    ("seen", "replicas", "updated", "available", "code"),
    [
        (1, 4, 4, 4, None),
        (2, 5, 1, 4, None),
        (2, 4, 4, 3, None),
        (2, 5, 4, 5, None),
        (2, 4, 4, 4, Exit.DONE),
    ],
)
def test_a_restart_is_complete_when_the_last_pod_is_a_new_one(
    seen: int, replicas: int, updated: int, available: int, code: Exit | None
) -> None:
    order = Awaited(command="restart", value="7/t1", revision=7)
    found = at_rest(conditions=conditions(Ready=True), commands=said("Done", "restart", "7/t1"))
    stable = found.by_revision(7)
    assert stable
    stable.deployment["metadata"]["generation"] = 2
    stable.deployment["status"] = {
        "observedGeneration": seen,
        "replicas": replicas,
        "updatedReplicas": updated,
        "availableReplicas": available,
    }
    assert judge(found, order).code is code


CONTRACT = Awaited(command="contract", value="uid-1/1/1", revision=1, operation=1)


def test_work_on_the_database_is_awaited_to_its_own_end() -> None:
    world = before_contract()
    assert judge(told(world), CONTRACT).code is None
    world.want(commands={CONTRACT.command: CONTRACT.value})
    under_way = judge(told(world), CONTRACT)
    assert under_way.code is None
    assert under_way.said.startswith("contract c0001 of revision 1")
    world.finish_job(a_report(contract_image="c0001", contract_schema="c0001"))
    assert judge(told(world), CONTRACT).code is Exit.DONE


def test_work_on_the_database_that_fails_is_told_with_its_reason() -> None:
    world = before_contract()
    world.want(commands={CONTRACT.command: CONTRACT.value})
    told(world)
    world.finish_job(a_report("failed", error="column is used", contract_image="c0001"), failed=True)
    for decide in (judge, answer):
        verdict = decide(told(world), CONTRACT)
        assert verdict.code is Exit.REFUSED
        assert "column is used" in verdict.said


def before_contract() -> World:
    """Revision 1 serves, on a database that lacks its contract migration."""
    world = World(an_app())
    told(world)
    world.finish_job(a_report(contract_image="c0001"))
    told(world)
    assert world.stable.serving == 2
    return world


def told(world: World, passes: int = 8) -> App:
    """The app as the API server has it when the operator has gone as far as it can: status by the operator itself."""
    for _ in range(passes):
        observed = world.observed()
        decided = world.step()
        world.app = replace(world.app, status=operator.status(observed, decided, world.now))
        world.ready()
    meta = {"generation": world.app.generation}
    return App({"metadata": meta, "spec": world.app.content, "status": world.app.status})


async def test_progress_is_said_once_and_the_end_is_returned() -> None:
    progress = Progress(["one", "one", "two"], Verdict(Exit.DONE, "three"))
    assert await progress.wait(100) == Verdict(Exit.DONE, "three")
    assert progress.said == ["one", "two"]


async def test_the_time_limit_ends_it_with_the_last_word() -> None:
    progress = Progress(["slow"] * 99, Verdict(Exit.DONE, "too late"))
    assert await progress.wait(10) == Verdict(Exit.TIME_LIMIT, "slow")


async def test_an_api_server_that_is_away_for_a_moment_ends_nothing() -> None:
    away = iter([True, False])

    async def look() -> Object:
        if next(away):
            raise UnreachableError("the API server does not answer")
        return {}

    async def pause(_: float) -> None:
        pass

    said: list[str] = []
    verdict = await wait(look, lambda _: Verdict(Exit.DONE, "done"), said.append, 10, pause=pause)
    assert (verdict.code, said) == (Exit.DONE, ["the API server does not answer"])


async def test_an_app_that_is_deleted_meanwhile_ends_it() -> None:
    async def gone() -> None:
        return None

    verdict = await wait(gone, lambda _: Verdict(None, ""), print, 10)
    assert verdict.code is Exit.ERROR


class Progress:
    """Sentences one after the other, a second apart by its own clock."""

    def __init__(self, sentences: list[str], end: Verdict) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self._verdicts: Iterator[Verdict] = iter([*(Verdict(None, each) for each in sentences), end])

    async def wait(self, seconds: float) -> Verdict:
        return await wait(
            self._look, lambda _: next(self._verdicts), self.said.append, seconds, lambda: self.now, self._pause
        )

    async def _look(self) -> Object:
        return {}

    async def _pause(self, _: float) -> None:
        self.now += 1
