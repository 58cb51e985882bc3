"""From the words of a command to what the API server is told and the exit code."""

import argparse
import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from inventory_operator.commandline.arguments import parser
from inventory_operator.commandline.console import Console
from inventory_operator.commandline.exits import Exit
from inventory_operator.commandline.main import VERBS, run
from inventory_operator.kube import ApiError
from inventory_operator.model import release_content, release_hash

from .api_server import APP, Objects, Typed, console, said, written
from .objects import SPECS, UID, at_rest, conditions, deployment, inventory_app, job, pod_of

Object = dict[str, Any]

SECONDS = 10


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for an operator that isn't there."""
    monkeypatch.setattr("inventory_operator.commandline.act.ANSWER_SECONDS", 0)


def canary(**status: Any) -> Objects:
    return Objects(inventory_app(**status), [deployment(5, 0), deployment(6, 4), deployment(7, 1)])


def resting(**status: Any) -> Objects:
    app = at_rest(**status)
    return Objects(app.found, [each.deployment for each in app.releases])


async def command(line: str, objects: Objects, at: Console | None = None, **arguments: Any) -> Exit:
    async def connect(*_: str) -> Objects:
        return objects

    args = argparse.Namespace(**vars(parser().parse_args(line.split())) | arguments)
    return await run(args, at or console(), connect)


@asynccontextmanager
async def watching(line: str, objects: Objects, at: Console) -> AsyncIterator[None]:
    """A command that ends only when it is interrupted."""
    task = asyncio.create_task(command(line, objects, at))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + SECONDS
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0)


async def test_an_order_is_one_annotation_under_our_own_name() -> None:
    objects = canary()
    assert await command("promote", objects) is Exit.DONE
    body = {"metadata": {"annotations": {"inventory.dev/promote": "7/2"}}}
    assert objects.told == [("PATCH", APP, body, {"fieldManager": "kubectl-inventory"})]


async def test_an_order_that_the_operator_refuses_ends_with_3() -> None:
    objects = canary()
    answer = {"command": "promote", "value": "7/2", "state": "Refused", "message": "Not now."}
    objects.answers = [inventory_app()["status"], inventory_app(commands=[answer])["status"]]
    at = console()
    assert await command("promote", objects, at) is Exit.REFUSED
    assert written(at) == "Not now.\n"


async def test_an_order_that_the_operator_puts_off_says_what_it_waits_for() -> None:
    message = "The next operation has number 4."
    heard: Object = {"command": "abort", "value": "7", "state": "Awaited", "message": message}
    for commands, first in (([heard], "The next operation has number 4;"), ([], "The operator has not answered yet;")):
        at = console()
        assert await command("abort", canary(commands=commands), at) is Exit.DONE
        assert " ".join(written(at).split()) == f"{first} `kubectl inventory status` shows how it goes."


async def test_what_destroys_wants_the_name_typed_and_changes_nothing_without_it() -> None:
    objects = resting()
    at = console(typed="inventori\n")
    assert await command("contract", objects, at) is Exit.REFUSED
    assert "Revisions 5 and 6\ncan't come back after it." in said(at)
    assert await command("contract", objects, console()) is Exit.USAGE
    assert objects.told == []
    assert await command("contract", objects, console(typed="inventory\n")) is Exit.DONE
    assert await command("contract --yes", objects, console()) is Exit.DONE
    orders = [body["metadata"]["annotations"] for _, _, body, _ in objects.told]
    assert orders == [{"inventory.dev/contract": f"{UID}/7/1"}] * 2


async def test_a_release_applies_the_image_alone() -> None:
    objects = canary()
    assert await command("release --image new:1", objects) is Exit.DONE
    [(method, path, body, query)] = objects.told
    assert (method, path, body["spec"], query) == (
        "PATCH",
        APP,
        {"image": "new:1"},
        {"fieldManager": "kubectl-inventory"},
    )


async def test_what_helm_holds_is_left_to_helm() -> None:
    objects = canary()
    assert objects.app
    fields: Object = {"f:spec": {"f:image": {}}}
    objects.app["metadata"]["managedFields"] = [{"manager": "helm", "operation": "Apply", "fieldsV1": fields}]
    objects.app["metadata"]["annotations"] = {"meta.helm.sh/release-name": "stock"}
    at = console()
    assert await command("release --image r.example/api:9", objects, at) is Exit.REFUSED
    assert objects.told == []
    assert "  helm upgrade stock CHART -n shop --reuse-values --set image.repository=r.example/api,image.tag=9" in said(
        at
    )
    assert await command("release --image r.example/api:9 --take-over", objects) is Exit.DONE
    assert objects.told[0][3] == {"fieldManager": "kubectl-inventory", "force": "true"}


async def test_a_conflict_that_only_the_api_server_sees_is_explained_too() -> None:
    objects = canary()
    objects.refusal = ApiError(409, 'Apply failed with 1 conflict: conflict with "kustomize-controller": .spec.image')
    at = console()
    assert await command("release --image new:1", objects, at) is Exit.REFUSED
    assert "spec.image belongs to Flux" in said(at)


async def test_a_rollback_asks_for_exactly_the_old_content() -> None:
    objects = resting()
    assert await command("rollback --to 5", objects) is Exit.DONE
    assert objects.app
    assert {name: objects.app["spec"][name] for name in SPECS[5]} == SPECS[5]
    assert len(objects.told) == 1


async def test_a_rollback_that_the_schema_forbids_is_refused_with_the_ways_out() -> None:
    objects = resting(contract=("c0001", "c0002"))
    at = console()
    assert await command("rollback --to 6", objects, at) is Exit.REFUSED
    assert objects.told == []
    assert "`downgrade --to 6` undoes contract migrations" in said(at)
    assert "`restore --revision 5` brings back a backup" in said(at)
    assert await command("rollback --to 6 --unchecked", objects) is Exit.DONE


async def test_a_pause_and_its_end_change_one_field() -> None:
    objects = resting()
    assert await command("pause", objects) is Exit.DONE
    assert await command("pause", objects) is Exit.DONE
    assert await command("resume", objects) is Exit.DONE
    assert [body["spec"] for _, _, body, _ in objects.told] == [{"paused": True}, {"paused": False}]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"phase": "Healthy", "conditions": conditions(Ready=True)}, Exit.DONE),
        ({"phase": "Failed", "conditions": conditions(Stalled=True)}, Exit.REFUSED),
        ({"phase": "Paused", "conditions": conditions(Ready=True)}, Exit.WAITS),
    ],
)
async def test_a_release_that_is_awaited_ends_with_what_became_of_it(status: Object, code: Exit) -> None:
    objects = resting()
    asked = {**SPECS[7], "image": "new:1"}
    objects.answers = [
        objects.app["status"] if objects.app else {},
        inventory_app(**status, observedGeneration=4, stableRelease=at_hash(asked))["status"],
    ]
    assert await command("release --image new:1 --wait", objects) is code


async def test_the_time_limit_has_its_own_code() -> None:
    assert await command("release --image new:1 --wait", resting(), timeout=0) is Exit.TIME_LIMIT


async def test_programs_get_the_same_as_json_and_yaml() -> None:
    for output, load in (("json", json.loads), ("yaml", yaml.safe_load)):
        at = console(output)
        await command(f"status inventory -o {output}", canary(), at)
        assert load(written(at))["releases"][0]["revision"] == 7
        at = console(output)
        await command(f"abort -o {output}", canary(), at)
        assert load(written(at))["value"] == "7"


async def test_status_history_and_schema_show_the_app() -> None:
    for line, words in (("status", "candidate"), ("history", "Superseded"), ("schema", "RUNS ON IT")):
        at = console()
        assert await command(line, canary(), at) is Exit.DONE
        assert words in written(at)


async def test_a_status_that_is_watched_is_shown_again_when_something_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inventory_operator.commandline.look.WATCH_SECONDS", 0)
    objects, at = canary(), console()
    waits, rolls = inventory_app()["status"], inventory_app(message="Revision 7 rolls out.")["status"]
    objects.answers = [waits, waits, waits, rolls, rolls]
    async with watching("status inventory --watch", objects, at):
        await until(lambda: "Revision 7 rolls out." in written(at))
        objects.away = True
        await until(lambda: "the API server does not answer" in written(at))
        objects.away = False
        await until(lambda: written(at).count("Revision 7 rolls out.") == 2)
    assert [part.splitlines()[0] for part in written(at).strip().split("\n\n")] == [
        "inventory in shop: Paused",
        "inventory in shop: Paused",
        "the API server does not answer",
        "inventory in shop: Paused",
    ]
    assert written(at).count("Revision 7 waits at step 2 of 4") == 1


async def test_on_a_terminal_a_status_that_is_watched_takes_the_place_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inventory_operator.commandline.look.WATCH_SECONDS", 0)
    objects, at = canary(), Console(Typed(), io.StringIO(), io.StringIO())
    objects.answers = [inventory_app()["status"], inventory_app(message="Revision 7 rolls out.")["status"]]
    async with watching("status inventory --watch", objects, at):
        await until(lambda: "Revision 7 rolls out." in written(at))
    nothing, before, after = written(at).split("\x1b[H\x1b[2J\x1b[3J")[:3]
    assert nothing == ""
    assert "Revision 7 waits at step 2 of 4" in before
    assert "Revision 7 rolls out." in after


async def test_a_watch_is_for_people() -> None:
    async with asyncio.timeout(SECONDS):
        assert await command("status --watch -o json", canary(), console("json")) is Exit.USAGE


def migrated(*jobs: Object) -> Objects:
    """An app with these Jobs, each of which has a pod that has printed the Job's name."""
    objects = canary()
    objects.jobs, objects.pods = list(jobs), [pod_of(each) for each in jobs]
    objects.logs = {each["metadata"]["name"]: [f"log of {each['metadata']['name']}", "done"] for each in objects.pods}
    return objects


async def test_the_log_of_the_newest_migration_is_printed_and_gates_are_none() -> None:
    objects, at = migrated(job(7), job(6, minutes=90), job(7, step="gate1", minutes=1)), console()
    assert await command("logs migration", objects, at) is Exit.DONE
    assert written(at) == "log of inventory-7-expand-1-x2v8q\ndone\n"
    assert said(at) == "expand of revision 7, pod inventory-7-expand-1-x2v8q\n"
    assert objects.followed == []


async def test_the_log_of_a_certain_revision_is_followed_on_demand() -> None:
    objects, at = migrated(job(7), job(6, minutes=90), job(6, step="contract1", minutes=80)), console()
    assert await command("logs migration inventory --revision 6 -f", objects, at) is Exit.DONE
    assert written(at) == "log of inventory-6-contract1-1-x2v8q\ndone\n"
    assert objects.followed == ["inventory-6-contract1-1-x2v8q"]


async def test_a_log_that_is_left_nowhere_is_an_error_that_says_where_its_outcome_is() -> None:
    objects, at = migrated(job(7)), console()
    assert await command("logs migration --revision 5", objects, at) is Exit.ERROR
    assert said(at) == (
        "kubectl inventory: no pod of a migration of revision 5 is left: `kubectl inventory history` has its outcome\n"
    )
    objects.pods = []
    assert await command("logs migration", objects) is Exit.ERROR


async def test_a_plan_asks_the_api_server_and_changes_nothing(tmp_path: Path) -> None:
    asked = inventory_app(6)
    other = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "inventory"}}
    file = tmp_path / "all.yaml"
    file.write_text(
        yaml.safe_dump_all([other, {key: asked[key] for key in ("apiVersion", "kind", "metadata", "spec")}])
    )
    objects, at = canary(), console("json")
    assert await command(f"plan -f {file} -o json", objects, at) is Exit.DONE
    assert json.loads(written(at))["kind"] == "abort"
    assert [(method, query["dryRun"]) for method, _, _, query in objects.told] == [("PUT", "All")]
    objects.refusal = ApiError(422, "spec.replicas: Invalid value: -1")
    assert await command(f"plan -f {file}", objects) is Exit.REFUSED


async def test_a_file_without_an_app_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    file.write_text("kind: Service\n")
    assert await command(f"plan -f {file}", canary()) is Exit.USAGE
    assert await command("plan -f /not/there", canary()) is Exit.USAGE


async def test_errors_of_the_cluster_end_with_1_and_say_what() -> None:
    objects, at = canary(), console()
    objects.refusal = ApiError(403, "inventoryapps is forbidden")
    assert await command("abort", objects, at) is Exit.ERROR
    assert said(at) == "kubectl inventory: you may not do that: inventoryapps is forbidden\n"
    assert await command("status not-there", canary()) is Exit.ERROR
    assert await command("status", Objects(None)) is Exit.ERROR


async def test_which_app_is_meant_must_be_clear() -> None:
    at = console()
    assert await command("history", Objects(None), at) is Exit.USAGE
    assert said(at) == "kubectl inventory: InventoryApps in namespace shop: there is none\n"


@pytest.mark.parametrize(
    "line", ["", "nonsense", "release", "rollback --to x", "downgrade", "status --wat", "release --ima x"]
)
def test_words_that_make_no_command_end_with_2(line: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(line.split())
    assert ended.value.code == Exit.USAGE


def test_every_verb_of_the_parser_is_there() -> None:
    verbs = next(each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    assert set(verbs.choices) == {*VERBS, "completion"}


def at_hash(spec: Object) -> str:
    return release_hash(release_content(spec))
