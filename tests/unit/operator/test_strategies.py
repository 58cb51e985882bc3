"""Canary and blue-green: values in, values out."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from inventory_operator.actions import ApplyService, Emit, Measure, Phase, SetTraffic, SuspendJob, UpdateDeployment
from inventory_operator.model import (
    Analyse,
    Analysis,
    Gate,
    Metric,
    Pause,
    Pod,
    Router,
    SetWeight,
    Stage,
    Step,
    Strategy,
    Traffic,
)
from inventory_operator.traffic import HEARD_SECONDS

from .world import World, a_report, served

NEW = "registry.test/api:2"
INGRESS = Router("ingress", "inventory")
ROUTE = Router("httpRoute", "inventory")
ERRORS = Analysis("http://prometheus", (Metric("errors", "up", good_max=0.01, interval=10, count=2),))


def canary(*steps: Step, replicas: int = 4, router: Router | None = None, **changes: Any) -> World:
    """Revision 1 serves; revision 2 has migrated and is at its first step."""
    more = {name: changes.pop(name) for name in ("dynamic_stable_scale", "warm") if name in changes}
    return released(Strategy("canary", steps=steps, router=router, **more), replicas, **changes)


def released(strategy: Strategy, replicas: int = 4, **changes: Any) -> World:
    world = served(replicas=replicas, strategy=strategy, **changes)
    if strategy.router:
        world.traffic = Traffic()
    world.want(image=NEW)
    world.step()
    world.step()
    world.finish_job(a_report())
    world.step()
    return world


def go(world: World, passes: int = 12) -> Any:
    """Passes in which every pod gets ready."""
    decided = world.step()
    for _ in range(passes):
        decided = world.step()
        world.ready()
    return decided


def order(world: World, **commands: str) -> None:
    world.want(commands={name.replace("_", "-"): value for name, value in commands.items()})


def counts(world: World) -> tuple[int, int]:
    return world.deployments[world.stable.release].replicas, world.target.replicas


def test_a_canary_has_its_share_of_the_pods_and_waits_for_a_person() -> None:
    world = canary(SetWeight(25), Pause())
    decided = go(world)
    assert counts(world) == (3, 1)
    assert world.service
    assert world.service.release is None
    assert decided.outcome.phase is Phase.PAUSED
    assert decided.outcome.message == (
        "Revision 2 has 25 % of the requests, step 2 of 2; annotate inventory.dev/promote=2/2 to go on, or abort it."
    )
    assert not decided.actions


def test_a_promotion_is_for_one_step_of_one_revision() -> None:
    world = canary(SetWeight(25), Pause(), SetWeight(50), Pause())
    go(world)
    for stale in ("1/2", "2/1", "2/4", "3/2", "2", "x/y", "2/2/2"):
        order(world, promote=stale)
        assert go(world).outcome.phase is Phase.PAUSED
        assert world.target.record.step == 1
    order(world, promote="2/2")
    go(world)
    assert world.target.record.step == 3
    assert counts(world) == (2, 2)
    assert go(world).commands[0].state == "Done"


def test_promote_full_skips_the_rest() -> None:
    world = canary(SetWeight(25), Pause(), Gate({}))
    go(world)
    order(world, promote_full="2")
    assert world.settle().outcome.message == "Revision 2 serves with 4 of 4 pods."
    assert "inventory-2-gate3-1" not in world.created_jobs


def test_an_abort_brings_all_pods_back_to_the_stable_release_and_stays() -> None:
    world = canary(SetWeight(50), Pause())
    go(world)
    assert counts(world) == (2, 2)
    order(world, abort="2")
    decided = go(world)
    assert decided.outcome.reason == "Aborted"
    assert counts(world) == (4, 0)
    assert world.service
    assert world.service.release == world.stable.release


def test_a_paused_release_can_be_aborted() -> None:
    world = canary(SetWeight(50), Pause())
    go(world)
    world.want(paused=True, commands={"abort": "2"})
    go(world)
    assert world.target.record.reason == "Aborted"
    world.want(paused=False)
    go(world)
    assert counts(world) == (4, 0)


def test_a_timed_pause_ends_by_itself() -> None:
    world = canary(SetWeight(25), Pause(60))
    decided = go(world)
    assert decided.outcome.reason == "Pausing"
    assert decided.check_after
    assert 59 < decided.check_after <= 60
    world.pass_time(60)
    assert world.settle().outcome.message == "Revision 2 serves with 4 of 4 pods."


def test_an_autoscaler_in_mid_canary_keeps_the_shares() -> None:
    world = canary(SetWeight(25), Pause())
    go(world)
    world.want(replicas=8)
    go(world, 20)
    assert counts(world) == (6, 2)
    world.want(replicas=4)
    go(world, 20)
    assert counts(world) == (3, 1)
    assert world.target.record.step == 1


def test_a_gate_before_traffic_sees_a_candidate_that_serves_nobody() -> None:
    world = canary(Gate({"args": ["smoke"]}), SetWeight(50), Pause())
    go(world)
    assert world.created_jobs[-1] == "inventory-2-gate1-1"
    assert counts(world) == (4, 1)
    assert world.service
    assert world.service.release == world.stable.release
    assert world.candidate_service
    assert world.candidate_service.release == world.target.release
    world.finish_job("fine")
    go(world)
    assert counts(world) == (2, 2)


def test_a_gate_that_fails_fails_the_release() -> None:
    world = canary(Gate({}))
    go(world)
    world.finish_job("the answer was 500", failed=True)
    decided = go(world)
    assert decided.outcome.reason == "GateFailed"
    assert "the answer was 500" in decided.outcome.message
    assert counts(world) == (4, 0)


def test_a_gate_of_a_superseded_release_is_stopped() -> None:
    world = canary(Gate({}))
    go(world)
    world.want(image="registry.test/api:3")
    world.step()
    assert [a.job.name for a in world.step().actions if isinstance(a, SuspendJob)] == ["inventory-2-gate1-1"]


def test_a_router_gets_the_weight_when_the_candidate_can_carry_it() -> None:
    world = canary(SetWeight(25), Pause(), router=INGRESS)
    world.step()
    assert not any(isinstance(a, SetTraffic) for a in world.step().actions)
    go(world)
    assert world.traffic
    assert world.traffic.weight == 25
    assert counts(world) == (4, 1)
    assert world.service
    assert world.service.release == world.stable.release


def test_a_router_gets_no_weight_before_it_can_know_the_pods_that_are_to_carry_it() -> None:
    world = canary(SetWeight(25), Pause(), router=INGRESS)
    world.step()
    world.step()
    world.ready()
    new = world.target.release
    world.pods = (Pod("new", new, world.now, ready=True, ready_since=world.now),)
    for _ in range(4):
        decided = world.step()
    assert world.traffic == Traffic()
    assert decided.check_after is not None
    assert decided.check_after <= HEARD_SECONDS
    world.now += timedelta(seconds=HEARD_SECONDS)
    go(world)
    assert world.traffic.weight == 25


def test_a_routed_canary_that_is_promoted_gives_the_router_back_and_keeps_the_former_warm() -> None:
    world = canary(SetWeight(25), Pause(), router=INGRESS, warm=60)
    go(world)
    former = world.stable.release
    order(world, promote="2/2")
    go(world)
    assert world.stable.record.revision == 2
    assert world.traffic == Traffic()
    assert world.service
    assert world.service.release == world.stable.release
    assert world.deployments[former].replicas == 4
    world.pass_time(61)
    go(world)
    assert world.deployments[former].replicas == 0
    assert not world.step().actions


def test_a_header_leads_to_a_candidate_that_has_no_weight_yet() -> None:
    world = canary(SetWeight(0), Pause(), router=Router("ingress", "inventory", {"header": "X-Candidate"}))
    assert go(world).outcome.phase is Phase.PAUSED
    assert world.traffic == Traffic(0, present=True)


def test_a_stable_release_that_scales_with_its_weight_is_full_before_it_gets_weight_back() -> None:
    world = canary(SetWeight(50), Pause(), router=INGRESS, dynamic_stable_scale=True)
    go(world)
    assert counts(world) == (2, 2)
    order(world, abort="2")
    world.step()
    assert world.traffic
    assert world.traffic.weight == 50
    for _ in range(6):
        world.step()
        assert world.traffic.weight == 50
        assert world.target.replicas == 2
    assert world.stable.replicas == 4
    go(world)
    assert world.traffic.weight == 0
    assert counts(world) == (4, 0)


def test_requests_are_back_on_stable_at_once_though_as_many_pods_as_may_be_are_not_ready() -> None:
    world = released(Strategy("canary", 1, 1, steps=(SetWeight(50), Pause()), router=INGRESS))
    go(world)
    world.deployments[world.stable.release] = replace(world.stable, ready=3)
    order(world, abort="2")
    world.step()
    assert world.traffic
    assert world.traffic.weight == 0


def test_traffic_is_back_on_stable_in_the_pass_that_finds_the_analysis_failed() -> None:
    world = canary(SetWeight(25), Pause(), router=INGRESS, analysis=ERRORS)
    world.answers["errors"] = 0.0
    go(world)
    world.answers["errors"] = 0.5
    world.pass_time(10)
    assert any(isinstance(a, Measure) for a in world.step().actions)
    decided = world.step()
    assert decided.outcome.reason == "AnalysisFailed"
    assert "errors: 0.5" in decided.outcome.message
    assert world.traffic
    assert world.traffic.weight == 0
    go(world)
    assert counts(world) == (4, 0)


def test_an_analysis_as_a_step_wants_its_count_of_good_answers() -> None:
    world = canary(SetWeight(25), Analyse(), analysis=ERRORS)
    world.answers["errors"] = 0.0
    decided = go(world)
    assert decided.outcome.reason == "Analysing"
    assert decided.check_after
    assert decided.check_after <= 10
    world.pass_time(10)
    assert world.settle().outcome.message == "Revision 2 serves with 4 of 4 pods."


def test_a_candidate_that_can_not_be_judged_is_held_for_a_person() -> None:
    world = canary(SetWeight(25), Analyse(), analysis=ERRORS)
    world.answers["errors"] = "Prometheus does not answer"
    for _ in range(5):
        go(world)
        world.pass_time(10)
    decided = world.step()
    assert (decided.outcome.phase, decided.outcome.reason) == (Phase.PAUSED, "AnalysisInconclusive")
    assert counts(world) == (3, 1)
    order(world, promote="2/2")
    assert world.settle().outcome.message == "Revision 2 serves with 4 of 4 pods."


def test_pod_churn_does_not_cut_an_analysis_short() -> None:
    world = canary(SetWeight(25), Analyse(), analysis=ERRORS)
    world.answers["errors"] = 0.0
    go(world)
    world.deployments[world.target.release] = replace(world.target, ready=0)
    world.pass_time(10)
    for _ in range(5):
        world.step()
    assert world.target.record.stage is Stage.ROLLING
    assert world.target.record.step == 1


def test_a_failure_freezes_the_release_where_the_spec_says_so() -> None:
    world = canary(SetWeight(50), Pause(), analysis=ERRORS, freeze=True)
    world.answers["errors"] = 0.5
    decided = go(world)
    assert (decided.outcome.phase, decided.outcome.reason) == (Phase.FAILED, "AnalysisFailed")
    assert counts(world) == (2, 2)
    order(world, abort="2")
    go(world)
    assert counts(world) == (4, 0)


def test_a_frozen_release_goes_on_when_told() -> None:
    world = canary(SetWeight(50), Pause(), analysis=ERRORS, freeze=True)
    world.answers["errors"] = 0.5
    go(world)
    number = world.target.record.step + 1
    world.answers["errors"] = 0.0
    order(world, promote=f"2/{number}", promote_full="2")
    assert world.settle().outcome.message == "Revision 2 serves with 4 of 4 pods."


def test_blue_green_gives_the_candidate_all_its_pods_before_it_gets_any_request() -> None:
    world = released(Strategy("blueGreen", steps=(Pause(),), warm=60))
    former = world.stable.release
    decided = go(world)
    assert counts(world) == (4, 4)
    assert world.service
    assert world.service.release == former
    assert world.candidate_service
    assert world.candidate_service.release == world.target.release
    assert decided.outcome.phase is Phase.PAUSED
    order(world, promote="2/1")
    go(world)
    assert world.service.release == world.target.release
    assert world.deployments[former].replicas == 4
    world.pass_time(61)
    go(world)
    assert world.deployments[former].replicas == 0
    assert not world.step().actions


def test_a_rollback_to_a_warm_release_is_instant_and_skips_the_steps() -> None:
    world = released(Strategy("blueGreen", steps=(Pause(),), warm=600))
    go(world)
    order(world, promote="2/1")
    go(world)
    jobs = list(world.created_jobs)
    world.want(image="registry.test/api:1")
    for _ in range(6):
        world.step()
    assert world.service
    assert world.service.release == world.target.release
    assert world.stable.record.revision == 3
    assert world.created_jobs == jobs


def test_a_superseding_release_takes_the_requests_back_first() -> None:
    world = canary(SetWeight(50), Pause(), router=INGRESS)
    go(world)
    left = world.target.release
    world.want(image="registry.test/api:3")
    world.step()
    for _ in range(4):
        world.step()
    assert world.traffic
    assert world.traffic.weight == 0
    assert world.deployments[left].replicas == 0
    assert world.created_jobs[-1] == "inventory-3-expand-1"


def test_a_route_that_somebody_else_changes_is_not_fought_but_reported() -> None:
    world = canary(SetWeight(50), Pause(), router=ROUTE)
    go(world)
    assert world.traffic
    world.traffic = replace(world.traffic, weight=33)
    decided = go(world)
    assert world.traffic.weight == 33
    assert "somebody else has set the weight in HTTPRoute inventory to 33" in decided.outcome.message
    world.traffic = replace(world.traffic, weight=50)
    assert go(world).outcome.phase is Phase.PAUSED


def test_nobody_waits_for_ever_for_a_route_that_somebody_else_keeps() -> None:
    world = canary(SetWeight(50), Pause(), router=ROUTE, progress_deadline=30)
    for _ in range(3):
        world.step()
        world.ready()
    world.traffic = Traffic(33, present=True)
    assert go(world).outcome.phase is Phase.PROGRESSING
    world.pass_time(31)
    decided = go(world)
    assert (decided.outcome.phase, decided.outcome.reason) == (Phase.PAUSED, "TrafficNotOurs")
    assert "it goes on when that is 50 again: set it so, or abort it." in decided.outcome.message
    assert [event.reason for event in world.events].count("TrafficNotOurs") == 1
    assert not decided.actions
    world.traffic = Traffic(50, present=True)
    assert go(world).outcome.reason == "AwaitingPromotion"


@pytest.mark.parametrize("way", ["paused", "frozen"])
def test_a_router_is_kept_in_step_with_what_it_is_derived_from_while_nothing_moves(way: str) -> None:
    world = canary(SetWeight(50), Pause(), router=INGRESS, freeze=True)
    go(world)
    if way == "paused":
        world.want(paused=True)
    else:
        world.deployments[world.target.release] = replace(
            world.target, record=replace(world.target.record, stage=Stage.FAILED, held=True)
        )
    go(world)
    assert world.traffic
    world.traffic = replace(world.traffic, as_wanted=False)
    assert [a for a in world.step().actions if isinstance(a, SetTraffic)] == [SetTraffic(50)]


def test_a_failure_is_told_though_the_router_can_not_be_told_in_the_same_pass() -> None:
    """The next pass finds a release that has failed already."""
    world = canary(SetWeight(50), Pause(), router=INGRESS)
    go(world)
    order(world, abort="2")
    kinds = [type(action) for action in world.step().actions]
    assert kinds.index(Emit) < kinds.index(SetTraffic)


def test_an_abort_needs_no_weight_that_somebody_else_has_set() -> None:
    world = canary(SetWeight(50), Pause(), router=ROUTE)
    go(world)
    assert world.traffic
    world.traffic = replace(world.traffic, weight=33)
    order(world, abort="2")
    go(world)
    assert world.candidate_service
    assert world.candidate_service.release == world.stable.release
    assert (world.traffic.weight, *counts(world)) == (33, 4, 0)


def test_a_router_that_is_not_there_fails_the_release_in_time_and_says_so() -> None:
    world = canary(SetWeight(50), router=INGRESS, progress_deadline=30)
    world.traffic = Traffic(trouble="there is no Ingress inventory")
    go(world)
    world.pass_time(31)
    decided = go(world)
    assert decided.outcome.reason == "TrafficNotRouted"
    assert "there is no Ingress inventory" in decided.outcome.message
    assert counts(world) == (4, 0)


def test_steps_that_change_in_mid_release_begin_anew() -> None:
    world = canary(SetWeight(50), Pause())
    go(world)
    world.want(strategy=Strategy("canary", steps=(SetWeight(25), Pause())))
    go(world, 20)
    assert counts(world) == (3, 1)
    assert world.target.record.step == 1


def test_a_canary_of_one_pod_keeps_the_stable_one() -> None:
    world = canary(SetWeight(20), Pause(), replicas=1)
    go(world)
    assert counts(world) == (1, 1)


def test_scaled_to_zero_a_candidate_has_nothing_to_step_through() -> None:
    world = canary(SetWeight(20), Pause(), replicas=2)
    go(world)
    world.want(replicas=0)
    world.settle()
    assert world.stable.record.revision == 2
    world.want(replicas=2)
    assert world.settle().outcome.message == "Revision 2 serves with 2 of 2 pods."


def test_a_candidate_that_loses_its_pods_in_a_long_pause_has_its_whole_deadline() -> None:
    world = canary(SetWeight(50), Pause(), progress_deadline=30)
    go(world)
    world.pass_time(3600)
    world.deployments[world.target.release] = replace(world.target, ready=1)
    assert world.step().outcome.phase is Phase.PROGRESSING
    world.pass_time(29)
    assert world.step().outcome.phase is Phase.PROGRESSING
    world.pass_time(2)
    assert world.step().outcome.reason == "ProgressDeadlineExceeded"


def test_a_step_that_stays_is_written_once_though_its_own_write_is_not_seen_yet() -> None:
    world = canary(SetWeight(50), Pause())
    go(world)
    world.deployments[world.target.release] = replace(world.target, current=False, settled=False)
    assert not world.step().actions


def test_a_strategy_that_changes_in_mid_release_takes_no_requests_from_pods_that_others_can_not_replace_yet() -> None:
    world = released(Strategy("rolling", 1, 0), replicas=3)
    while world.stable.replicas == 3:
        world.ready()
        world.step()
    assert world.service
    assert world.service.release is None
    world.want(strategy=Strategy("canary", steps=(Gate({}),)))
    world.step()
    world.step()
    assert world.service.release is None
    for _ in range(6):
        world.step()
        world.ready()
    assert world.service.release == world.stable.release
    assert world.stable.serving == 3


def test_a_superseded_candidate_keeps_its_requests_until_the_next_one_bears_them() -> None:
    world = canary(SetWeight(50), Pause(), router=INGRESS, dynamic_stable_scale=True)
    go(world)
    superseded = world.target.release
    assert world.traffic
    assert (world.traffic.weight, world.stable.replicas) == (50, 2)
    world.want(image="registry.test/api:3")
    world.step()
    world.step()
    world.finish_job(a_report())
    for _ in range(4):
        world.step()
    assert world.candidate_service
    assert world.candidate_service.release == superseded
    assert (world.traffic.weight, world.deployments[superseded].serving) == (50, 2)
    world.ready(world.target.release)
    world.step()
    assert world.candidate_service.release == world.target.release
    go(world)
    assert (world.traffic.weight, world.deployments[superseded].replicas) == (50, 0)


def test_a_superseded_candidate_gives_its_requests_back_before_the_next_one_has_a_weight() -> None:
    world = canary(SetWeight(50), Pause(), router=INGRESS, dynamic_stable_scale=True)
    go(world)
    superseded = world.target.release
    strategy = replace(world.app.strategy, steps=(Gate({}), SetWeight(50)))
    world.want(image="registry.test/api:3", strategy=strategy)
    world.step()
    world.step()
    world.finish_job(a_report())
    for _ in range(4):
        world.step()
        world.ready(world.target.release)
    assert world.candidate_service
    assert world.traffic
    assert (world.candidate_service.release, world.traffic.weight) == (superseded, 50)
    world.ready(world.stable.release)
    world.step()
    assert world.traffic.weight == 0
    world.step()
    assert world.candidate_service.release == world.target.release


def test_a_rollback_right_after_a_promotion_moves_no_requests_to_pods_that_are_not_there_yet() -> None:
    world = canary(SetWeight(50), router=INGRESS, dynamic_stable_scale=True)
    former, promoted = world.stable.release, world.target.release
    while world.target.record.stage is not Stage.PROMOTED:
        world.step()
        world.ready()
    assert world.traffic
    assert world.traffic.weight == 100
    assert world.deployments[former].serving < 4
    world.want(image="registry.test/api:1")
    for _ in range(6):
        world.step()
        assert world.candidate_service
        assert world.service
        bearer = world.candidate_service.release if world.traffic.weight else world.service.release
        assert bearer == promoted
    go(world)
    assert world.service
    assert world.service.release == former
    assert (world.target.release, world.target.serving, world.traffic.weight) == (former, 4, 0)


def test_an_autoscaler_that_shrinks_a_canary_leaves_its_ready_pods_while_the_stable_ones_are_not() -> None:
    world = canary(SetWeight(75), Pause())
    go(world)
    stable = world.stable
    assert (stable.serving, world.target.serving) == (1, 3)
    world.deployments[stable.release] = replace(stable, ready=0)
    world.want(replicas=2)
    for _ in range(4):
        world.step()
        assert world.target.serving >= 2
    go(world)
    assert (world.stable.serving, world.target.serving) == (1, 1)


def test_an_abort_leads_the_requests_back_before_the_pods_that_had_them_go() -> None:
    world = released(Strategy("rolling", 0, 1), replicas=2)
    aborted = world.target
    while world.service and world.service.release != aborted.release:
        world.step()
        world.ready(aborted.release)
    assert world.target.record.stage is Stage.ROLLING
    world.want(image="registry.test/api:1")
    decided = world.step()
    served = next(n for n, a in enumerate(decided.actions) if isinstance(a, ApplyService) and not a.candidate)
    gone = next(
        n
        for n, a in enumerate(decided.actions)
        if isinstance(a, UpdateDeployment) and a.deployment.release == aborted.release
    )
    assert served < gone


def test_a_weight_in_a_users_route_that_stable_can_not_bear_yet_stays_until_it_can() -> None:
    world = canary(SetWeight(50), Pause(), router=ROUTE, dynamic_stable_scale=True)
    go(world)
    aborted = world.target.release
    order(world, abort="2")
    world.step()
    world.step()
    assert world.traffic
    assert world.traffic.weight == 50
    world.ready(world.stable.release, 3)
    world.step()
    assert (world.traffic.weight, world.deployments[aborted].replicas) == (50, 2)
    go(world)
    assert (world.traffic.weight, world.deployments[aborted].replicas) == (0, 0)


def test_the_next_release_takes_no_pods_from_the_service_that_does_not_lead_to_the_promoted_one_yet() -> None:
    world = released(Strategy("blueGreen"), replicas=1)
    former, promoted = world.stable.release, world.target.release
    while world.target.record.stage is not Stage.PROMOTED:
        world.step()
        world.ready()
    world.deployments[promoted] = replace(world.stable, ready=0)
    world.step()
    assert world.service
    assert world.service.release == former
    world.want(image="registry.test/api:3")
    world.step()
    world.step()
    world.finish_job(a_report())
    for _ in range(4):
        world.step()
    assert (world.service.release, world.deployments[former].serving) == (former, 1)
    go(world)
    assert (world.service.release, world.deployments[former].replicas) == (world.target.release, 0)
    assert world.target.release not in (former, promoted)


def test_a_weight_that_is_taken_back_in_mid_release_goes_as_the_stable_release_can_bear_it() -> None:
    world = canary(SetWeight(50), Pause(), router=INGRESS, dynamic_stable_scale=True)
    go(world)
    world.want(strategy=replace(world.app.strategy, steps=(SetWeight(0), Pause())))
    for _ in range(3):
        world.step()
    assert world.traffic
    assert (world.traffic.weight, world.stable.serving) == (50, 2)
    world.ready(world.stable.release, 3)
    world.step()
    assert world.traffic.weight == 25
    go(world)
    assert (world.traffic.weight, world.stable.serving) == (0, 4)
