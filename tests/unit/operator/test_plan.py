"""The planner: values in, values out."""

from dataclasses import replace
from typing import Any

import pytest
from inventory_operator.actions import (
    CreateDeployment,
    CreateJob,
    Emit,
    Phase,
    SetReplicas,
    SuspendJob,
    UpdateDeployment,
)
from inventory_operator.model import Pod, Stage
from inventory_operator.plan import plan

from .world import START, World, a_report, an_app, served

NEW = "registry.test/api:2"
REFUSED = "The contract migration c0001 is applied, and this release does not know it: it may use what was removed"


def migrating(**changes: Any) -> World:
    """The first release serves, and the Job of the next one has just been made."""
    world = served(**changes)
    world.want(image=NEW)
    world.step()
    world.step()
    return world


def test_a_release_begins_with_its_intent_written_down_before_the_first_step() -> None:
    world = World()
    decided = world.step()
    assert [type(a) for a in decided.actions][:1] == [CreateDeployment]
    assert world.target.replicas == 0
    assert world.target.record.revision == 1
    assert not world.jobs


def test_no_pod_starts_before_the_migrations_are_applied() -> None:
    world = World()
    world.step()
    world.step()
    assert world.created_jobs == ["inventory-1-expand-1"]
    for _ in range(3):
        assert world.step().outcome.phase is Phase.MIGRATING
    assert world.target.replicas == 0
    world.finish_job(a_report())
    world.step()
    world.step()
    assert world.target.replicas == 2


def test_the_first_release_serves_in_the_end_and_then_nothing_is_written() -> None:
    world = World()
    decided = world.settle()
    assert decided.outcome.phase is Phase.HEALTHY
    assert decided.outcome.message == "Revision 1 serves with 2 of 2 pods."
    assert world.service
    assert world.service.selector == {"inventory.dev/release": world.app.release}
    assert not world.step().actions


def test_a_new_release_replaces_pods_and_the_service_moves() -> None:
    world = served()
    old = world.app.release
    world.want(image=NEW)
    assert world.settle().outcome.message == "Revision 2 serves with 2 of 2 pods."
    assert world.deployments[old].replicas == 0
    assert world.service
    assert world.service.selector == {"inventory.dev/release": world.app.release}


def test_an_app_without_migrations_runs_no_job() -> None:
    world = World(an_app(migrations=None))
    assert world.settle().outcome.phase is Phase.HEALTHY
    assert not world.created_jobs


def test_the_deployment_is_pinned_to_the_digest_that_the_migration_ran() -> None:
    world = World()
    world.step()
    world.step()
    world.finish_job(a_report(), image_id="registry.test/api@sha256:" + "a" * 64)
    world.step()
    assert world.target.image == "registry.test/api@sha256:" + "a" * 64


def test_a_failed_migration_blocks_the_release_and_leaves_stable_untouched() -> None:
    world = served()
    before = world.stable
    world.want(image=NEW)
    world.step()
    world.step()
    world.finish_job(a_report("failed", error='migration 0002 failed: column "x" does not exist'), failed=True)
    decided = world.settle()
    assert decided.outcome.phase is Phase.FAILED
    assert decided.outcome.reason == "MigrationFailed"
    assert decided.outcome.message == (
        'Revision 2 failed: migration 0002 failed: column "x" does not exist. Revision 1 serves on; '
        "apply other content, or annotate inventory.dev/retry=2 to try it again."
    )
    assert world.stable == before
    assert world.target.replicas == 0


def test_failed_content_is_not_tried_again_until_told() -> None:
    world = migrating()
    world.finish_job(a_report("failed", error="no"), failed=True)
    world.settle()
    jobs = list(world.created_jobs)
    world.pass_time(3600)
    world.settle()
    assert world.created_jobs == jobs
    world.want(commands={"retry": "1"})  # stale: names another revision
    world.settle()
    assert world.created_jobs == jobs
    world.want(commands={"retry": "2"})
    assert world.settle().outcome.phase is Phase.HEALTHY
    assert world.stable.record.revision == 3


def test_leaving_failed_content_and_coming_back_counts_as_told() -> None:
    world = served()
    good = dict(world.app.content)
    world.want(image=NEW)
    world.step()
    world.step()
    world.finish_job(a_report("failed", error="no"), failed=True)
    world.settle()
    world.want(content=good)
    assert world.settle().outcome.phase is Phase.HEALTHY
    assert world.stable.record.revision == 1
    world.want(image=NEW)
    assert world.settle().outcome.phase is Phase.HEALTHY
    assert world.stable.record.revision == 3


def test_a_good_release_goes_on_top_of_a_failed_one() -> None:
    world = migrating()
    world.finish_job(a_report("failed", error="no"), failed=True)
    world.settle()
    world.want(image="registry.test/api:3")
    assert world.settle().outcome.message == "Revision 3 serves with 2 of 2 pods."


def test_old_content_comes_back_under_a_new_number_and_without_a_job() -> None:
    world = served()
    old = dict(world.app.content)
    world.want(image=NEW)
    world.settle()
    jobs = list(world.created_jobs)
    world.want(content=old)
    assert world.settle().outcome.message == "Revision 3 serves with 2 of 2 pods."
    assert world.created_jobs == jobs
    assert world.target.record.revision == 3


@pytest.mark.parametrize("result", ["refused", "nothing"])
def test_a_rollback_that_the_schema_refuses_names_the_way_out(result: str) -> None:
    world = served()
    old = dict(world.app.content)
    world.want(image=NEW)
    for _ in range(2):
        world.step()
    world.finish_job(_contracted())
    world.settle()
    world.want(content=old)
    world.step()
    world.step()
    assert world.created_jobs[-1] == "inventory-3-expand-1"
    error = REFUSED if result == "refused" else ""
    world.finish_job(_contracted(result, "0001", "", error), failed=result == "refused")
    decided = world.settle()
    assert decided.outcome.reason == "SchemaIncompatible"
    assert f"{REFUSED}; apply revision 2 ({NEW}), which runs on this schema" in decided.outcome.message
    assert world.stable.record.revision == 2
    assert world.stable.replicas == 2


def _contracted(
    result: str = "applied", image: str = "0001 0002", contract_image: str = "c0001", error: str = ""
) -> str:
    report = a_report(result, image, "0001 0002", error)
    return report.replace(
        '"contract": {"image": "", "schema": ""', f'"contract": {{"image": "{contract_image}", "schema": "c0001"'
    )


def test_applying_stable_content_in_mid_release_is_an_abort() -> None:
    world = served()
    old = dict(world.app.content)
    world.want(image=NEW)
    world.step()
    world.step()
    world.finish_job(a_report())
    world.step()
    world.step()
    candidate = world.target.release
    assert world.deployments[candidate].replicas == 1
    world.want(content=old)
    assert world.settle().outcome.message == "Revision 1 serves with 2 of 2 pods."
    assert world.deployments[candidate].replicas == 0
    assert world.deployments[candidate].record.stage is Stage.LEFT


def test_a_superseding_release_waits_for_the_running_migration_and_then_runs_its_own() -> None:
    world = migrating()
    world.want(image="registry.test/api:3")
    world.step()
    decided = world.step()
    assert world.created_jobs[-1] == "inventory-2-expand-1"
    assert "waits for the end of Job inventory-2-expand-1" in decided.outcome.message
    world.finish_job(a_report())
    world.step()
    assert world.created_jobs[-1] == "inventory-3-expand-1"
    assert world.settle().outcome.message == "Revision 3 serves with 2 of 2 pods."


def test_a_superseded_job_that_never_started_is_stopped() -> None:
    world = migrating()
    world.start_pod(waiting_reason="ImagePullBackOff")
    world.want(image="registry.test/api:3")
    world.step()
    assert any(isinstance(a, SuspendJob) for a in world.step().actions)
    decided = world.step()
    assert "waits for the end of pod inventory-2-expand-1-x" in decided.outcome.message
    world.end_pods_of_suspended_jobs()
    world.step()
    assert world.created_jobs[-1] == "inventory-3-expand-1"


def test_a_superseded_job_that_gets_no_pod_is_stopped() -> None:
    world = migrating()
    world.pass_time(11)
    assert "gets no pod" in world.step().outcome.message
    world.want(image="registry.test/api:3")
    for _ in range(3):
        world.step()
    assert world.created_jobs[-1] == "inventory-3-expand-1"


def test_a_superseded_job_whose_pod_is_about_to_run_goes_on() -> None:
    world = migrating()
    world.start_pod(waiting_reason="ContainerCreating")
    world.want(image="registry.test/api:3")
    world.step()
    assert not [a for a in world.step().actions if isinstance(a, SuspendJob)]


def test_an_image_that_cannot_be_pulled_fails_after_its_deadline_and_not_before() -> None:
    world = migrating(image_pull_deadline=60)
    said = 'Back-off pulling image "registry.test/api:2": not found'
    world.pass_time(3600)  # it waited for a node
    world.start_pod(created=START, scheduled=world.now, waiting_reason="ImagePullBackOff", waiting_message=said)
    decided = world.step()
    assert decided.outcome.phase is Phase.MIGRATING
    assert decided.check_after == pytest.approx(60, abs=0.1)
    world.pass_time(60)
    decided = world.step()
    assert decided.outcome.reason == "ImagePullFailed"
    assert said in decided.outcome.message
    assert world.jobs["inventory-2-expand-1"].suspended


def test_pods_that_never_get_ready_fail_the_release_and_go_away_again() -> None:
    world = migrating(progress_deadline=30)
    world.finish_job(a_report())
    for _ in range(3):
        world.step()
    candidate = world.target.release
    world.pods += (Pod("inventory-x", candidate, world.now, termination_message="boom\nINVENTORY_X is missing"),)
    assert world.step().check_after == pytest.approx(30, abs=0.1)
    world.pass_time(31)
    decided = world.step()
    assert decided.outcome.reason == "ProgressDeadlineExceeded"
    assert "(pod inventory-x: INVENTORY_X is missing)" in decided.outcome.message
    world.settle()
    assert world.deployments[candidate].replicas == 0
    assert world.stable.replicas == 2
    assert world.stable.record.revision == 1


def test_waiting_for_the_database_is_not_a_failed_migration() -> None:
    world = World()
    world.step()
    world.step()
    waiting = a_report("waiting", error="the database does not answer")
    world.finish_job(waiting, failed=True, reason="DeadlineExceeded")
    decided = world.step()
    assert decided.outcome.phase is Phase.MIGRATING
    assert decided.actions[-1] == CreateJob(world.app.release, 1, 2, "registry.test/api:1")


def test_a_job_that_never_got_to_run_is_tried_again_and_then_fails_without_a_guess() -> None:
    world = World()
    world.step()
    world.step()
    for attempt in (2, 3):
        world.finish_job("", failed=True, reason="DeadlineExceeded")
        world.step()
        assert world.created_jobs[-1] == f"inventory-1-expand-{attempt}"
    world.finish_job("", failed=True, reason="DeadlineExceeded")
    decided = world.step()
    assert decided.outcome.reason == "MigrationFailed"
    assert "stopped at its deadline, as 2 before it, and left no report" in decided.outcome.message


def test_no_job_begins_while_a_pod_of_a_vanished_one_may_still_migrate() -> None:
    world = migrating()
    world.start_pod()
    world.jobs.clear()
    assert "waits for the end of pod inventory-2-expand-1-x" in world.step().outcome.message
    world.pods = ()
    world.step()
    assert list(world.jobs) == ["inventory-2-expand-1"]


def test_a_pod_that_can_not_start_says_why() -> None:
    world = World()
    world.step()
    world.step()
    world.start_pod(waiting_reason="Unschedulable", waiting_message="0/1 nodes are available: insufficient memory.")
    assert "can't start its migration: 0/1 nodes are available: insufficient memory." in world.step().outcome.message


def test_a_report_may_abbreviate_its_revisions() -> None:
    world = World()
    world.step()
    world.step()
    world.finish_job(a_report(image="0001..0003", schema="0001..0003"))
    world.step()
    assert world.target.record.image_schema
    assert world.target.record.image_schema.expand == ("0001", "0002", "0003")
    assert world.settle().outcome.phase is Phase.HEALTHY


def test_a_job_that_succeeded_without_a_report_is_asked_once_more() -> None:
    world = World()
    world.step()
    world.step()
    world.finish_job("")
    world.step()
    assert world.created_jobs[-1] == "inventory-1-expand-2"
    assert world.settle().outcome.phase is Phase.HEALTHY


def test_paused_holds_a_new_release_and_says_so() -> None:
    world = served()
    world.want(image=NEW, paused=True)
    decided = world.step()
    assert decided.outcome.phase is Phase.PAUSED
    assert not decided.actions
    world.want(paused=False)
    assert world.settle().outcome.message == "Revision 2 serves with 2 of 2 pods."


def half_rolled_out(**changes: Any) -> World:
    """The candidate has one pod, which isn't ready; two of the stable release serve."""
    world = migrating(**changes)
    world.finish_job(a_report("applied"))
    world.step()
    world.step()
    assert (world.stable.replicas, world.target.replicas) == (2, 1)
    return world


def test_paused_in_mid_release_holds_the_candidate_and_stops_its_deadline() -> None:
    world = half_rolled_out(progress_deadline=30)
    world.want(paused=True)
    world.step()
    assert not world.step().actions
    world.pass_time(3600)
    world.want(paused=False)
    assert world.step().outcome.phase is Phase.PROGRESSING
    assert world.settle().outcome.message == "Revision 2 serves with 2 of 2 pods."


def test_paused_in_mid_release_the_stable_release_follows_the_count_and_the_candidate_stays() -> None:
    world = half_rolled_out()
    candidate = world.target.release
    world.want(paused=True, replicas=5)
    world.settle()
    assert (world.stable.replicas, world.deployments[candidate].replicas) == (5, 1)
    world.want(image="registry.test/api:3")
    world.settle()
    assert world.deployments[candidate].replicas == 1
    world.want(replicas=0)
    world.settle()
    assert not [d for d in world.deployments.values() if d.replicas]


def test_paused_in_mid_release_a_candidate_that_gets_ready_takes_no_pod_away() -> None:
    world = half_rolled_out()
    world.want(paused=True)
    world.ready()
    decided = world.settle()
    assert (world.stable.replicas, world.target.replicas) == (2, 1)
    serving = "revision 1 serves with 2 of 2 pods and revision 2 serves with 1 of 2 pods"
    assert decided.outcome.message == f"Releases are paused; {serving}. Remove spec.paused to go on."
    assert world.service
    assert not world.service.selector


def test_a_failed_first_release_takes_no_traffic_from_the_pod_that_is_ready() -> None:
    world = World(an_app(progress_deadline=30))
    world.step()
    world.step()
    world.finish_job(a_report())
    world.step()
    world.step()
    first = world.target.release
    world.ready(first, 1)
    world.want(image=NEW)
    for _ in range(3):
        world.step()
    world.finish_job(a_report())
    for _ in range(3):
        world.step()
    world.pass_time(31)
    assert world.step().outcome.reason == "ProgressDeadlineExceeded"
    world.step()
    assert world.deployments[first].serving == 1
    assert world.service
    assert not world.service.selector


def test_the_broken_pods_of_a_failed_release_make_room_for_those_of_the_stable_one() -> None:
    world = half_rolled_out(progress_deadline=30)
    candidate = world.target.release
    world.deployments[world.stable.release] = replace(world.stable, ready=1)
    world.pass_time(31)
    world.step()
    decided = world.step()
    assert world.deployments[candidate].replicas == 0
    assert "Revision 1 serves on" in decided.outcome.message
    world.deployments[world.stable.release] = replace(world.stable, ready=0)
    assert "Revision 1 has no ready pod" in world.step().outcome.message


def test_a_job_that_somebody_suspends_is_waited_for_and_not_made_again() -> None:
    world = World()
    world.step()
    world.step()
    [job] = world.jobs.values()
    world.jobs[job.name] = replace(job, suspended=True)
    for _ in range(3):
        assert "is suspended" in world.step().outcome.message
    assert world.created_jobs == [job.name]


def test_the_event_comes_after_the_write_that_it_tells_of() -> None:
    world = half_rolled_out()
    world.want(content={"image": world.stable.record.image})
    actions = world.step().actions
    kinds = [type(action) for action in actions]
    assert kinds.index(UpdateDeployment) < kinds.index(Emit)


def test_the_stable_release_follows_the_count_while_the_next_one_migrates() -> None:
    world = migrating()
    world.want(replicas=5)
    assert world.step().outcome.phase is Phase.MIGRATING
    assert world.stable.replicas == 5


def test_a_release_that_supersedes_in_mid_roll_out_first_gives_the_stable_one_its_pods_back() -> None:
    world = half_rolled_out()
    world.ready()
    world.step()
    assert world.stable.replicas == 1
    left = world.target.release
    world.want(image="registry.test/api:3")
    world.step()
    world.deployments[left] = replace(world.deployments[left], ready=0)
    for _ in range(6):
        world.step()
        world.ready(world.stable.release)
    assert world.step().outcome.phase is Phase.MIGRATING
    assert world.stable.serving == 2
    assert world.deployments[left].replicas == 0


def test_pods_of_the_stable_release_that_are_unready_for_a_moment_are_kept() -> None:
    world = half_rolled_out()
    world.deployments[world.stable.release] = replace(world.stable, ready=0)
    world.step()
    assert world.stable.replicas == 2


def test_the_scale_can_change_in_mid_release_and_at_rest() -> None:
    world = migrating()
    world.finish_job(a_report())
    world.step()
    world.step()
    world.want(replicas=5)
    assert world.settle().outcome.message == "Revision 2 serves with 5 of 5 pods."
    world.want(replicas=0)
    world.settle()
    assert world.stable.replicas == 0
    world.want(replicas=3)
    assert world.settle().outcome.message == "Revision 2 serves with 3 of 3 pods."


def test_the_history_is_kept_short_but_the_highest_revision_stays() -> None:
    world = served(history_limit=1)
    for number in range(2, 6):
        world.want(image=f"registry.test/api:{number}")
        world.settle()
    assert sorted(d.record.revision for d in world.deployments.values()) == [4, 5]
    assert {j.revision for j in world.jobs.values()} == {4, 5}


def test_a_deployment_that_is_being_deleted_is_awaited_before_its_name_is_used_again() -> None:
    world = served()
    release = world.app.release
    world.deployments[release] = replace(world.deployments[release], deleting=True)
    decided = world.step()
    assert not decided.actions
    assert "still being deleted" in decided.outcome.message


def test_a_name_that_somebody_else_uses_is_left_alone() -> None:
    world = World()
    decided = plan(replace(world.observed(), foreign=("Service inventory",)), START)
    assert decided.outcome.phase is Phase.FAILED
    assert [type(action) for action in decided.actions] == [Emit]
    world.want(status={"message": decided.outcome.message})
    assert not plan(replace(world.observed(), foreign=("Service inventory",)), START).actions


def test_what_a_deleted_app_of_the_same_name_leaves_is_awaited() -> None:
    decided = plan(replace(World().observed(), leaving=("Service inventory",)), START)
    assert decided.outcome.phase is Phase.PENDING
    assert "Service inventory" in decided.outcome.message
    assert decided.check_after
    assert not decided.actions


def test_a_release_whose_pods_wait_for_the_database_waits_too() -> None:
    world = half_rolled_out(progress_deadline=30)
    why = "The database's schema cannot be read: connection refused"
    waiting = Pod("inventory-x", world.target.release, world.now, unready=why, waits=True)
    world.pods += (waiting,)
    for _ in range(10):
        world.pass_time(20)
        decided = world.step()
        assert decided.outcome.phase is Phase.PROGRESSING
    assert f"0 of 2 pods are ready (pod inventory-x: {why})" in decided.outcome.message
    world.pods = (replace(waiting, waits=False, unready="The expand migration 0003 is not applied."),)
    world.pass_time(31)
    assert "(pod inventory-x: The expand migration 0003 is not applied)" in world.step().outcome.message
    assert world.target.record.stage is Stage.FAILED


def test_pods_that_a_quota_refuses_fail_the_release_with_its_words() -> None:
    world = half_rolled_out(progress_deadline=30)
    candidate = world.target.release
    world.deployments[candidate] = replace(world.target, trouble="exceeded quota: pods")
    world.pass_time(31)
    assert "(exceeded quota: pods)" in world.step().outcome.message


def test_one_object_is_written_once_a_pass() -> None:
    world = served()
    old = dict(world.app.content)
    world.want(image=NEW)
    for _ in range(2):
        world.step()
    world.finish_job(a_report())
    for _ in range(3):
        world.step()
    world.want(content=old)
    written = [a.deployment.release for a in world.step().actions if isinstance(a, UpdateDeployment)]
    assert len(written) == len(set(written))


def test_a_count_that_was_taken_out_of_the_spec_stays_what_it_is() -> None:
    world = served(replicas=3)
    world.want(replicas_unset=True)
    decided = world.step()
    assert decided.actions == (SetReplicas(3),)
    assert world.stable.replicas == 3
