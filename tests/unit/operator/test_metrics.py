"""What the operator says of itself."""

from datetime import UTC, datetime

from inventory_operator.actions import Outcome, Phase, Plan
from inventory_operator.metrics import ApiRequests, Apps
from inventory_operator.model import Deployment, Observed, Record, Stage
from prometheus_client import CollectorRegistry

from tests.unit.operator.world import an_app

RECORD = Record(revision=7, stage=Stage.PROMOTED, started=datetime(2026, 1, 1, tzinfo=UTC), image="api:1")
STABLE = Deployment("shop-1", "1", RECORD, 1, 1, 1, current=True, settled=True, deleting=False, resource_version="1")


def series(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    found = (sample for family in registry.collect() for sample in family.samples if sample.name == name)
    return {tuple(sample.labels.values()): sample.value for sample in found}


def test_an_app_is_in_the_phase_of_its_last_pass_and_in_no_other() -> None:
    apps, registry, observed = Apps(), CollectorRegistry(), Observed(an_app(), (STABLE,))
    registry.register(apps)
    for phase in (Phase.PENDING, Phase.HEALTHY):
        apps.note(observed, Plan(Outcome(phase, "", "")))
    phases = series(registry, "inventory_operator_app_phase")
    assert {labels[2] for labels, value in phases.items() if value} == {"Healthy"}
    assert {labels[2] for labels in phases} == set(Phase)
    name = (observed.app.namespace, observed.app.name)
    assert series(registry, "inventory_operator_app_revision") == {(*name, "stable"): 7, (*name, "candidate"): 0}


def test_of_an_app_that_is_gone_nothing_is_said() -> None:
    apps, registry, observed = Apps(), CollectorRegistry(), Observed(an_app())
    registry.register(apps)
    apps.note(observed, Plan(Outcome(Phase.HEALTHY, "", "")))
    apps.forget(observed.app.namespace, observed.app.name)
    assert not series(registry, "inventory_operator_app_phase")


def test_requests_are_counted_by_method() -> None:
    registry, calls = CollectorRegistry(), {"GET": 1}
    registry.register(ApiRequests(calls))
    calls["GET"] += 1
    assert series(registry, "inventory_operator_api_requests_total") == {("GET",): 2}
