"""The operator's own figures."""

from prometheus_client import Counter, Gauge, Histogram

from .model import Observed, Phase, Plan

RECONCILE_SECONDS = Histogram("inventory_operator_reconcile_seconds", "Time of one pass over one app.")
RECONCILE_ERRORS = Counter("inventory_operator_reconcile_errors", "Passes that failed and are tried again.")
APP_PHASE = Gauge("inventory_operator_app_phase", "1 for the phase that an app is in.", ["namespace", "name", "phase"])
APP_REVISION = Gauge(
    "inventory_operator_app_revision",
    "Revision that serves (stable) or is on its way (candidate).",
    ["namespace", "name", "role"],
)
BUILD_INFO = Gauge("inventory_operator_build_info", "Always 1.", ["version"])


def observe_app(observed: Observed, plan: Plan) -> None:
    """Note what a pass found."""
    key = (observed.app.namespace, observed.app.name)
    for phase in Phase:
        APP_PHASE.labels(*key, phase.value).set(phase is plan.outcome.phase)
    for role, release in (("stable", observed.stable), ("candidate", plan.candidate)):
        APP_REVISION.labels(*key, role).set(release.record.revision if release else 0)


def forget(namespace: str, name: str) -> None:
    """An app is gone, and its series with it."""
    for gauge in (APP_PHASE, APP_REVISION):
        for labels in list(gauge._metrics):
            if labels[:2] == (namespace, name):
                gauge.remove(*labels)
