"""The operator's own figures."""

from collections.abc import Iterable, Mapping

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .actions import Phase, Plan
from .model import Observed

RECONCILE_SECONDS = Histogram(
    "inventory_operator_reconcile_seconds",
    "Time of one pass over one app.",
    buckets=(0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 15),
)
RECONCILE_ERRORS = Counter("inventory_operator_reconcile_errors", "Passes that failed and are tried again.")
BUILD_INFO = Gauge("inventory_operator_build_info", "Always 1.", ["version"])


class Apps(Collector):
    """What the last pass over each app has found; series are made of it when somebody asks.

    A series that is kept costs a kilobyte, and an app has eleven.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[Phase, int, int]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def note(self, observed: Observed, plan: Plan) -> None:
        """Note what a pass found."""
        stable = observed.stable.record.revision if observed.stable else 0
        candidate = plan.candidate.record.revision if plan.candidate else 0
        self._found[observed.app.namespace, observed.app.name] = (plan.outcome.phase, stable, candidate)

    def forget(self, namespace: str, name: str) -> None:
        """An app is gone, and its series with it."""
        self._found.pop((namespace, name), None)

    def collect(self) -> Iterable[Metric]:
        phases = GaugeMetricFamily(
            "inventory_operator_app_phase",
            "1 for the phase that an app is in, 0 for the others.",
            labels=["namespace", "name", "phase"],
        )
        revisions = GaugeMetricFamily(
            "inventory_operator_app_revision",
            "Revision that serves (stable) or is on its way (candidate).",
            labels=["namespace", "name", "role"],
        )
        for (namespace, name), (found, stable, candidate) in self._found.items():
            for phase in Phase:
                phases.add_metric([namespace, name, phase.value], phase is found)
            revisions.add_metric([namespace, name, "stable"], stable)
            revisions.add_metric([namespace, name, "candidate"], candidate)
        return (phases, revisions)


class ApiRequests(Collector):
    """Of the operator itself; Kopf's watches are not among them."""

    def __init__(self, calls: Mapping[str, int]) -> None:
        """`calls` by method, counted by whoever makes them."""
        self._calls = calls

    def collect(self) -> Iterable[Metric]:
        found = CounterMetricFamily(
            "inventory_operator_api_requests",
            "Requests to the API server, without Kopf's watches.",
            labels=["method"],
        )
        for method, count in self._calls.items():
            found.add_metric([method], count)
        return (found,)


APPS = Apps()
REGISTRY.register(APPS)
