"""Contract, downgrade and restore; and the three ways out of a refused rollback."""

from dataclasses import replace
from typing import Any

import pytest
from inventory_operator.actions import CreateJob, Emit, Phase, SuspendJob, UpdateDeployment
from inventory_operator.model import Contract, Gate, Migrations, Pause, Pod, Stage, Step, Strategy, WorkStage
from inventory_operator.plan import plan

from .world import World, a_report, an_app, served

OLD, NEW = "registry.test/api:1", "registry.test/api:2"
BACKUP = {"job": {"image": "backup"}, "restoreJob": {"image": "backup"}}


def before_contract(migrations: Migrations | None = None, **changes: Any) -> World:
    """Revision 2, which has a contract migration that is not applied, has just begun to serve."""
    world = served(migrations=migrations or Migrations("owner"), **changes)
    world.want(image=NEW)
    world.step()
    world.step()
    world.finish_job(a_report(image="0001 0002", schema="0001 0002", **{"contract_image": "c0001"}))
    for _ in range(8):
        world.step()
        world.ready()
    assert world.stable.record.revision == 2
    return world


def order(world: World, **commands: str) -> None:
    world.want(commands=commands)


def go(world: World, passes: int = 6) -> Any:
    decided = world.step()
    for _ in range(passes):
        decided = world.step()
        world.ready()
    return decided


def contracted(**changes: Any) -> World:
    """Revision 2 serves, and its contract is applied: revision 1 can't come back."""
    world = before_contract(**changes)
    order(world, contract="uid-1/2/1")
    go(world)
    if "inventory-2-backup1-1" in world.created_jobs:
        world.finish_job("backups/2.dump")
        go(world)
    world.finish_job(after("c0001"))
    go(world)
    return world


def after(contract: str, result: str = "applied", error: str = "") -> str:
    return a_report(result, "0001 0002", "0001 0002", error, contract_image="c0001", contract_schema=contract)


def refused(world: World) -> Any:
    """Somebody applies revision 1 again; its Job looks, and refuses."""
    world.want(image=OLD, commands={})
    return go(world)


def test_a_contract_waits_for_the_order_and_names_it() -> None:
    world = before_contract()
    decided = go(world)
    assert decided.outcome.phase is Phase.HEALTHY
    assert "contract c0001 waits for the order inventory.dev/contract=uid-1/2/1" in decided.outcome.message
    assert not decided.actions


def test_a_contract_says_beforehand_who_can_not_come_back() -> None:
    world = before_contract()
    order(world, contract="uid-1/2/1")
    world.step()
    said = "Contract 1: contract c0001 of revision 2: no way back then to revision 1"
    assert world.events[-1] == Emit("Normal", "ContractBegun", said)
    assert not [name for name in world.created_jobs if "contract" in name]
    go(world)
    assert world.created_jobs[-1] == "inventory-2-contract1-1"
    world.finish_job(after("c0001"))
    assert go(world).outcome.message == "Revision 2 serves with 2 of 2 pods."
    assert world.events[-1].reason == "ContractDone"


def test_a_contract_by_itself_follows_after_its_soak() -> None:
    world = before_contract(Migrations("owner", contract=Contract(automatic=True, soak=600)))
    decided = go(world)
    assert "contract c0001 follows at" in decided.outcome.message
    assert decided.check_after
    assert 590 < decided.check_after < 600
    world.pass_time(600)
    go(world)
    assert world.created_jobs[-1] == "inventory-2-contract1-1"


def test_no_contract_while_a_pod_of_a_release_that_it_breaks_is_left() -> None:
    world = before_contract(strategy=Strategy("blueGreen", warm=3600))
    former = min(world.deployments.values(), key=lambda d: d.record.revision)
    assert former.replicas == 2
    world.pods = (Pod("inventory-old-x", former.release, world.now, deleting=True),)
    order(world, contract="uid-1/2/1")
    decided = go(world)
    assert world.deployments[former.release].replicas == 0
    assert "waits for the end of inventory-old-x" in decided.outcome.message
    assert not [name for name in world.created_jobs if "contract" in name]
    world.pods = ()
    go(world)
    assert world.created_jobs[-1] == "inventory-2-contract1-1"


def test_no_contract_while_a_pod_of_a_release_is_left_whose_deployment_was_deleted_by_hand() -> None:
    world = before_contract()
    former = min(world.deployments.values(), key=lambda d: d.record.revision)
    del world.deployments[former.release]
    world.pods = (Pod("inventory-old-x", former.release, world.now),)
    order(world, contract="uid-1/2/1")
    assert "waits for the end of inventory-old-x" in go(world).outcome.message
    world.pods = ()
    go(world)
    assert world.created_jobs[-1] == "inventory-2-contract1-1"


def test_an_order_that_is_refused_keeps_no_contract_from_following_by_itself() -> None:
    world = before_contract(migrations=Migrations("owner", contract=Contract(automatic=True, soak=600)))
    order(world, downgrade="uid-1/1/1")
    go(world)
    assert (world.events[-1].reason, world.events[-1].type) == ("DowngradeFailed", "Warning")
    world.pass_time(600)
    go(world)
    assert world.created_jobs[-1] == "inventory-2-contract2-1"


def test_after_a_failed_contract_and_an_order_that_is_refused_a_person_still_decides() -> None:
    world = before_contract(migrations=Migrations("owner", contract=Contract(automatic=True, soak=600)))
    world.pass_time(600)
    go(world)
    world.finish_job(after("", "failed", "it is used"), failed=True)
    go(world)
    order(world, restore="uid-1/2/2")
    go(world)
    assert world.events[-1].reason == "RestoreFailed"
    jobs = list(world.created_jobs)
    world.pass_time(6000)
    assert "waits for the order" in go(world).outcome.message
    assert world.created_jobs == jobs


def test_no_contract_without_its_backup() -> None:
    world = before_contract(Migrations("owner", backup=BACKUP))
    order(world, contract="uid-1/2/1")
    go(world)
    assert world.created_jobs[-1] == "inventory-2-backup1-1"
    world.finish_job("no space left on device", failed=True)
    decided = go(world)
    assert world.events[-1].reason == "ContractFailed"
    assert "no contract without its backup" in world.events[-1].message
    assert not [name for name in world.created_jobs if "contract" in name]
    assert "waits for the order inventory.dev/contract=uid-1/2/2" in decided.outcome.message
    order(world, contract="uid-1/2/2")
    go(world)
    world.finish_job("backups/2.dump")
    go(world)
    assert world.created_jobs[-1] == "inventory-2-contract2-1"
    assert world.stable.record.backup == "backups/2.dump"


def test_a_failed_contract_is_not_tried_again_until_told() -> None:
    world = before_contract(Migrations("owner", contract=Contract(automatic=True, soak=0)))
    go(world)
    world.finish_job(after("", "failed", "column is used"), failed=True)
    decided = go(world)
    assert "waits for the order inventory.dev/contract=uid-1/2/2" in decided.outcome.message
    assert world.created_jobs[-1] == "inventory-2-contract1-1"
    assert world.stable.record.operation
    assert world.stable.record.operation.stage is WorkStage.FAILED


def test_a_contract_whose_image_can_not_be_pulled_ends_whatever_becomes_of_the_pass_that_gives_it_up() -> None:
    world = before_contract()
    order(world, contract="uid-1/2/1")
    go(world)
    world.start_pod(waiting_reason="ErrImagePull", waiting_message="no such image", scheduled=world.now)
    world.pass_time(61)
    first = plan(world.observed(), world.now).actions[0]
    assert isinstance(first, SuspendJob)
    # The operator dies here, or its next write meets a conflict.
    world.jobs[first.job.name] = replace(first.job, suspended=True, given_up=first.why)
    world.end_pods_of_suspended_jobs()
    assert "no such image" in go(world).commands[0].message
    operation = world.stable.record.operation
    assert operation
    assert operation.stage is WorkStage.FAILED


def test_no_candidate_starts_during_a_contract() -> None:
    world = before_contract()
    order(world, contract="uid-1/2/1")
    world.step()
    world.want(image="registry.test/api:3")
    go(world)
    assert len(world.deployments) == 2
    world.finish_job(after("c0001"))
    go(world)
    assert len(world.deployments) == 3


def test_no_contract_begins_while_a_candidate_is_under_way() -> None:
    world = before_contract()
    world.want(image="registry.test/api:3", commands={"contract": "uid-1/2/1"})
    go(world)
    assert [name for name in world.created_jobs if "contract" in name] == []


def test_orders_of_another_object_or_number_harm_nobody() -> None:
    world = before_contract()
    for value, state in (("uid-0/2/1", "Refused"), ("uid-1/2/7", "Awaited"), ("2", "Refused")):
        order(world, contract=value)
        decided = go(world)
        assert decided.commands[0].state == state
        assert decided.outcome.phase is Phase.HEALTHY
    assert [name for name in world.created_jobs if "contract" in name] == []


def test_a_rollback_past_a_contract_is_refused_with_its_three_ways_out() -> None:
    world = contracted(migrations=Migrations("owner", backup=BACKUP))
    decided = refused(world)
    assert world.created_jobs[-1] == "inventory-3-expand-1"  # it looks anew: somebody may have migrated by hand
    world.finish_job(a_report("refused", "0001", "0001 0002", "c0001 is unknown", contract_schema="c0001"), failed=True)
    decided = go(world)
    assert decided.outcome.reason == "SchemaIncompatible"
    message = decided.outcome.message
    assert "apply revision 2 (registry.test/api:2), which runs on this schema" in message
    assert "inventory.dev/downgrade=uid-1/3/2" in message
    assert "restore the backup backups/2.dump by the order inventory.dev/restore=uid-1/2/2" in message
    assert world.stable.serving == 2


def test_the_release_that_fits_and_is_named_has_served() -> None:
    world = contracted(progress_deadline=30)
    world.want(image="registry.test/api:bad", commands={})
    for _ in range(3):
        world.step()
    if any(job.active for job in world.jobs.values()):
        world.finish_job(after("c0001"))
    for seconds in (1, 31, 1):
        world.pass_time(seconds)
        world.step()
    assert world.target.record.stage is Stage.FAILED
    world.want(image=NEW)
    go(world)
    refused(world)
    world.finish_job(a_report("refused", "0001", "0001 0002", "no", contract_schema="c0001"), failed=True)
    assert "apply revision 2 (registry.test/api:2), which runs on this schema" in go(world).outcome.message


def test_a_downgrade_makes_way_and_the_release_that_was_refused_comes() -> None:
    world = contracted()
    refused(world)
    world.finish_job(a_report("refused", "0001", "0001 0002", "no", contract_schema="c0001"), failed=True)
    go(world)
    order(world, downgrade="uid-1/3/2")
    world.step()
    world.step()
    created = [a for a in world.step().actions if isinstance(a, CreateJob)]
    assert [(job.image, job.arguments) for job in created] == [(NEW, ("migrate", "downgrade", "--to", "base"))]
    world.finish_job(after("", "downgraded"))
    jobs = list(world.created_jobs)
    world.settle()
    assert world.stable.record.image == OLD
    assert world.stable.record.revision == 4
    assert world.created_jobs == jobs


def test_after_a_downgrade_the_contract_waits_for_a_person_until_the_next_promotion() -> None:
    world = contracted(migrations=Migrations("owner", contract=Contract(automatic=True, soak=3600)))
    order(world, downgrade="uid-1/1/2")
    go(world)
    world.finish_job(after("", "downgraded"))
    go(world)
    world.pass_time(7200)
    assert "waits for the order" in go(world).outcome.message


def test_a_lossy_downgrade_is_refused_by_the_image_and_said() -> None:
    world = contracted()
    order(world, downgrade="uid-1/1/2")
    go(world)
    world.finish_job(after("c0001", "refused", "c0001 does not declare its downgrade lossless"), failed=True)
    go(world)
    assert world.events[-1].reason == "DowngradeFailed"
    assert "does not declare its downgrade lossless" in world.events[-1].message
    assert world.stable.serving == 2


def test_a_downgrade_for_what_fits_already_is_refused() -> None:
    world = before_contract()
    order(world, downgrade="uid-1/1/1")
    go(world)
    assert "no contract migration is applied that revision 1 does not know" in world.events[-1].message


def test_a_restore_stops_the_service_looks_and_lets_come_what_fits() -> None:
    world = contracted(migrations=Migrations("owner", backup=BACKUP))
    refused(world)
    world.finish_job(a_report("refused", "0001", "0001 0002", "no", contract_schema="c0001"), failed=True)
    go(world)
    order(world, restore="uid-1/2/2")
    decided = go(world)
    assert decided.outcome.phase is Phase.RESTORING
    assert all(d.replicas == 0 for d in world.deployments.values())
    assert world.created_jobs[-1] == "inventory-2-restore2-1"
    world.finish_job("restored")
    go(world)
    assert world.created_jobs[-1] == "inventory-2-look2-1"
    world.finish_job(a_report("status", "0001 0002", "0001", contract_image="c0001"))
    go(world)
    assert world.settle().outcome.phase is Phase.HEALTHY
    assert world.stable.record.image == OLD
    assert next(d for d in world.deployments.values() if d.image == NEW).record.stage is Stage.LEFT


def test_after_a_restore_that_failed_the_refused_release_offers_an_order_that_works() -> None:
    world = contracted(migrations=Migrations("owner", backup=BACKUP))
    refused(world)
    world.finish_job(a_report("refused", "0001", "0001 0002", "no", contract_schema="c0001"), failed=True)
    assert "inventory.dev/restore=uid-1/2/2" in go(world).outcome.message
    order(world, restore="uid-1/2/2")
    go(world)
    world.finish_job("the volume is gone", failed=True)
    world.step()
    decided = go(world)
    assert decided.outcome.reason == "SchemaIncompatible"
    assert "inventory.dev/downgrade=uid-1/3/3" in decided.outcome.message
    assert "inventory.dev/restore=uid-1/2/3" in decided.outcome.message
    assert "uid-1/2/2" not in decided.outcome.message
    order(world, restore="uid-1/2/3")
    assert go(world).outcome.phase is Phase.RESTORING
    assert world.created_jobs[-1] == "inventory-2-restore3-1"


def test_an_order_is_told_the_next_number_though_the_last_operation_is_forgotten() -> None:
    world = served()
    world.want(status={"operation": {"number": 3}}, commands={"contract": "uid-1/1/6"})
    [told] = world.step().commands
    assert (told.state, told.message) == ("Awaited", "The next operation has number 4.")


def test_a_restore_without_a_backup_is_refused_and_the_service_serves_on() -> None:
    world = contracted()
    order(world, restore="uid-1/2/2")
    go(world)
    assert "no backup is known" in world.events[-1].message
    assert world.stable.serving == 2


def test_a_rotated_secret_restarts_the_pods_once_and_makes_no_release() -> None:
    world = served(secrets="aaa")
    assert world.stable.restarted == "aaa"
    world.want(secrets="bbb")
    restarts = [a for a in world.step().actions if isinstance(a, UpdateDeployment)]
    assert [a.restarted for a in restarts] == ["bbb"]
    assert not world.step().actions
    assert world.stable.record.revision == 1


def test_an_upgrade_of_the_operator_restarts_no_pod() -> None:
    """An older one wrote nothing about Secrets: what the pods run with is taken for what there is."""
    world = served()
    assert world.stable.restarted == ""
    world.want(secrets="aaa")
    assert [a.restarted for a in world.step().actions if isinstance(a, UpdateDeployment)] == [None]
    assert not world.step().actions
    world.want(secrets="bbb")
    assert [a.restarted for a in world.step().actions if isinstance(a, UpdateDeployment)] == ["bbb"]


def test_a_backup_that_nothing_can_restore_stops_no_service() -> None:
    world = contracted(migrations=Migrations("owner", backup={"job": {"image": "backup"}}))
    order(world, restore="uid-1/2/2")
    go(world)
    assert "says no way to restore" in world.events[-1].message
    assert world.stable.serving == 2


def test_a_restart_by_order_happens_once() -> None:
    world = served(secrets="aaa")
    order(world, restart="1/today")
    world.step()
    assert world.stable.restarted == "aaa 1/today"
    world.ready()
    decided = world.step()
    assert not decided.actions
    assert decided.commands[0].state == "Done"
    order(world, restart="1/tomorrow")
    assert [type(a) for a in world.step().actions] == [UpdateDeployment]


def waiting(*steps: Step, **changes: Any) -> World:
    """Revision 2 has come to its first step that takes time."""
    world = served(secrets="aaa", replicas=2, strategy=Strategy("blueGreen", steps=steps, warm=600), **changes)
    world.want(image=NEW)
    for _ in range(8):
        world.step()
        world.ready()
        if any(job.active and not job.gate for job in world.jobs.values()):
            world.finish_job(a_report())
    assert world.target.replicas == 2
    return world


def restarted(world: World) -> list[tuple[str, str]]:
    """Which releases get new pods, and for what."""
    found = (a for a in world.step().actions if isinstance(a, UpdateDeployment))
    return [(a.deployment.release, a.restarted) for a in found if a.restarted]


@pytest.mark.parametrize("step", [Pause(), Pause(600)])
def test_a_secret_that_is_rotated_while_a_candidate_waits_reaches_both_one_after_the_other(step: Step) -> None:
    world = waiting(step)
    world.want(secrets="bbb")
    for release in (world.stable.release, world.target.release):
        assert restarted(world) == [(release, "bbb")]
        assert restarted(world) == []  # until its new pods are ready
        world.ready()
    assert restarted(world) == []


def test_a_secret_that_is_rotated_reaches_no_candidate_in_the_middle_of_its_gate() -> None:
    world = waiting(Gate({"args": ["smoke"]}), Pause())
    world.want(secrets="bbb")
    assert "gate" in world.created_jobs[-1]
    assert restarted(world) == []


def test_a_rotated_secret_reaches_the_warm_release_after_the_one_that_serves() -> None:
    world = waiting(Pause())
    former = world.stable.release
    order(world, promote="2/1")
    go(world)
    assert world.deployments[former].replicas == 2
    world.want(secrets="bbb")
    for release in (world.stable.release, former):
        assert restarted(world) == [(release, "bbb")]
        assert restarted(world) == []
        world.ready()
    assert not world.step().actions


def test_a_release_is_restarted_for_its_own_secrets_not_for_those_of_another() -> None:
    world = waiting(Pause())
    world.secrets = {world.stable.release: "aaa"}
    world.want(secrets="other")
    assert [release for release, _ in restarted(world)] == [world.target.release]
    world.ready()
    world.secrets = {world.stable.release: "bbb", world.target.release: "other"}
    assert restarted(world) == [(world.stable.release, "bbb")]


def test_a_rotated_secret_reaches_what_serves_while_a_failed_release_waits_for_a_person() -> None:
    world = served(secrets="aaa")
    world.want(image=NEW)
    for _ in range(3):
        world.step()
    world.finish_job(a_report("failed", error="no"), failed=True)
    go(world)
    world.want(secrets="bbb")
    assert [a.restarted for a in world.step().actions if isinstance(a, UpdateDeployment)] == ["bbb"]
    assert not world.step().actions


def test_secrets_that_can_not_be_read_restart_nothing() -> None:
    world = served(secrets="aaa")
    world.want(secrets="")
    assert not world.step().actions


def test_nothing_is_restarted_while_pods_are_not_ready() -> None:
    world = served(secrets="aaa")
    world.deployments[world.stable.release] = replace(world.stable, ready=1)
    world.want(secrets="bbb")
    assert not [a for a in world.step().actions if isinstance(a, UpdateDeployment)]


def test_a_first_release_on_an_empty_database_has_its_contract_with_it() -> None:
    world = World(an_app())
    world.step()
    world.step()
    world.finish_job(a_report(contract_image="c0001", contract_schema="c0001"))
    assert "waits for the order" not in go(world).outcome.message


def test_after_a_contract_that_left_no_report_a_rollback_looks_at_the_database_first() -> None:
    world = before_contract()
    order(world, contract="uid-1/2/1")
    go(world)
    for _ in range(3):
        world.pass_time(1)
        world.finish_job("", failed=True, reason="DeadlineExceeded")
        go(world)
    assert world.stable.record.operation
    assert world.stable.record.operation.stage is WorkStage.FAILED
    world.want(image=OLD)
    go(world, 2)
    assert world.created_jobs[-1] == "inventory-3-expand-1"
    world.finish_job(a_report("refused", "0001", "0001 0002", "c0001 is unknown", contract_schema="c0001"), failed=True)
    go(world)
    assert world.target.record.reason == "SchemaIncompatible"


def test_an_order_that_is_refused_hides_no_contract_that_left_no_report() -> None:
    world = before_contract()
    order(world, contract="uid-1/2/1")
    go(world)
    for _ in range(3):
        world.pass_time(1)
        world.finish_job("", failed=True, reason="DeadlineExceeded")
        go(world)
    order(world, downgrade="uid-1/1/2")
    go(world)
    assert world.stable.record.operation
    assert world.stable.record.operation.number == 2
    world.want(image=OLD)
    go(world, 2)
    assert world.created_jobs[-1] == "inventory-3-expand-1"


def test_a_candidate_that_was_on_its_way_before_a_restore_begins_anew_after_it() -> None:
    world = contracted(migrations=Migrations("owner", backup=BACKUP))
    world.want(image="registry.test/api:3", strategy=Strategy("canary", steps=(Pause(),)))
    go(world, 2)
    world.finish_job(a_report(image="0001 0002 0003", schema="0001 0002 0003"))
    go(world)
    assert world.target.record.stage is Stage.ROLLING
    order(world, restore="uid-1/2/2")
    go(world)
    world.finish_job("restored")
    go(world, 2)
    world.finish_job(after(""))
    decided = world.step()
    assert (world.target.record.stage, world.target.record.reason) == (Stage.LEFT, "Restored")
    # What ends the operation comes last: a crash before it repeats all.
    assert [a for a in decided.actions if isinstance(a, UpdateDeployment)][-1].deployment.record.operation
    go(world, 2)
    assert world.created_jobs[-1] == f"inventory-{world.target.record.revision}-expand-1"
    assert world.target.record.revision == 4


def test_no_contract_begins_before_the_candidate_that_was_on_its_way_is_given_up() -> None:
    world = before_contract()
    world.want(image="registry.test/api:3", strategy=Strategy("canary", steps=(Pause(),)))
    go(world, 2)
    world.finish_job(a_report(image="0001 0002 0003", schema="0001 0002 0003"))
    go(world)
    aborted = world.target.release
    assert world.target.record.stage is Stage.ROLLING
    world.want(image=NEW, commands={"contract": "uid-1/2/1"})
    world.step()
    assert world.deployments[aborted].record.stage is Stage.LEFT
    assert world.stable.record.operation is None
    world.step()
    assert world.stable.record.operation
