"""What must hold in every history: the planner on a model cluster, driven at random."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from inventory_operator.model import Phase, Stage, UpdateDeployment
from inventory_operator.plan import amounts, plan

from .world import World, a_report, an_app

IMAGES = [f"registry.test/api:{number}" for number in range(4)]


class Releases(RuleBasedStateMachine):
    """People apply content, an autoscaler scales, Jobs and pods succeed or not, passes happen at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(an_app(progress_deadline=100))
        self.total_before = 0

    @rule()
    def reconcile(self) -> None:
        world = self.world
        before = {r: d.serving for r, d in world.deployments.items()}
        decided = world.step()
        _, unavailable = amounts(world.app)
        removed = any(
            isinstance(a, UpdateDeployment)
            and a.replicas is not None
            and a.replicas < before.get(a.deployment.release, 0)
            for a in decided.actions
        )
        serving = sum(d.serving for d in world.deployments.values())
        if removed:  # ready pods are only taken away where enough others stay
            assert serving >= min(world.app.replicas - unavailable, sum(before.values()))

    @rule()
    def a_decision_that_was_lost_is_made_again(self) -> None:
        observed = self.world.observed()
        assert plan(observed, self.world.now) == plan(observed, self.world.now)

    @rule(image=st.sampled_from(IMAGES))
    def somebody_applies(self, image: str) -> None:
        self.world.want(image=image)

    @rule(replicas=st.integers(0, 5))
    def an_autoscaler_scales(self, replicas: int) -> None:
        self.world.want(replicas=replicas)

    @rule(paused=st.booleans())
    def somebody_pauses(self, paused: bool) -> None:
        self.world.want(paused=paused)

    @precondition(lambda self: any(j.active for j in self.world.jobs.values()))
    @rule(result=st.sampled_from(["applied", "nothing", "failed", "refused", "waiting", "lost"]))
    def a_job_ends(self, result: str) -> None:
        if result == "lost":
            self.world.finish_job("")
        else:
            message = a_report(result, error="why")
            self.world.finish_job(message, failed=result in ("failed", "refused", "waiting"), reason="DeadlineExceeded")

    @precondition(lambda self: any(j.active for j in self.world.jobs.values()))
    @rule(reason=st.sampled_from(["", "ContainerCreating", "ImagePullBackOff", "Unschedulable"]))
    def a_job_gets_a_pod(self, reason: str) -> None:
        self.world.start_pod(waiting_reason=reason)

    @rule()
    def pods_of_suspended_jobs_end(self) -> None:
        self.world.end_pods_of_suspended_jobs()

    @rule(count=st.integers(0, 5))
    def pods_get_ready(self, count: int) -> None:
        for release in self.world.deployments:
            self.world.ready(release, count)

    @rule()
    def a_pod_becomes_unready(self) -> None:
        for release, found in self.world.deployments.items():
            if found.ready:
                self.world.deployments[release] = replace(found, ready=found.ready - 1)
                return

    @rule(seconds=st.sampled_from([1, 50, 200]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @invariant()
    def no_pod_before_its_migrations(self) -> None:
        for found in self.world.deployments.values():
            if found.replicas:
                assert found.record.image_schema is not None

    @invariant()
    def never_two_migrations_at_once(self) -> None:
        assert sum(job.active for job in self.world.jobs.values()) <= 1

    @invariant()
    def no_number_is_given_twice(self) -> None:
        numbers = [d.record.revision for d in self.world.deployments.values()]
        assert len(numbers) == len(set(numbers))

    @invariant()
    def never_more_pods_than_the_surge_allows(self) -> None:
        surge, _ = amounts(self.world.app)
        total = sum(d.replicas for d in self.world.deployments.values())
        assert total <= max(self.total_before, self.world.app.replicas + surge)  # where replicas shrank, it goes down
        self.total_before = total

    @invariant()
    def the_service_selects_pods_that_serve(self) -> None:
        service = self.world.service
        serving = {r for r, d in self.world.deployments.items() if d.serving}
        if service and "inventory.dev/release" in service.selector and serving:
            selected = service.selector["inventory.dev/release"]
            target = self.world.deployments.get(selected)
            assert target is not None

    def teardown(self) -> None:
        """Left alone, with pods that get ready and migrations that succeed, every history ends as wanted."""
        world = self.world
        world.want(paused=False)
        ended = world.settle(passes=80)
        if ended.outcome.phase is Phase.FAILED:  # not tried again until told
            world.want(retry=world.target.record.revision)
            ended = world.settle(passes=80)
        assert ended.outcome.phase is Phase.HEALTHY
        assert world.stable.release == world.app.release
        assert world.stable.replicas == world.app.replicas
        assert all(d.replicas == 0 for d in world.deployments.values() if d is not world.stable)
        assert all(d.record.stage in (Stage.PROMOTED, Stage.FAILED, Stage.LEFT) for d in world.deployments.values())


TestReleases = Releases.TestCase
TestReleases.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
