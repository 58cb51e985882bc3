"""What an InventoryApp's status says, by kstatus: helm 4, Flux and Argo CD read the conditions. Pure."""

from datetime import datetime

from inventory_api.migrations.rule import objections

from . import manifests
from .actions import Outcome, Phase, Plan
from .model import App, Deployment, Object, Observed, Operation, Stage

HISTORY_LENGTH = 20
OUTCOMES = {
    Stage.MIGRATING: "Migrating",
    Stage.ROLLING: "Progressing",
    Stage.FAILED: "Failed",
    Stage.LEFT: "Left",
}


def status(observed: Observed, plan: Plan, now: datetime) -> Object:
    """The whole status. Equal to the present one if nothing has changed, so that a steady app costs no write."""
    app, stable, candidate = observed.app, observed.stable, plan.candidate
    found: Object = {
        "observedGeneration": app.generation,
        "phase": plan.outcome.phase.value,
        "message": plan.outcome.message,
        "replicas": sum(d.pods for d in observed.releases),
        "readyReplicas": sum(d.ready for d in observed.releases),
        "selector": _selector(app),
        "conditions": _conditions(observed, plan, now),
        "history": _history(observed, stable),
    }
    if stable:
        found |= {"stableRevision": stable.record.revision, "stableRelease": stable.release}
    if candidate and candidate is not stable:
        found |= {"candidateRevision": candidate.record.revision, "candidateRelease": candidate.release}
        found |= _steps(app, plan, candidate)
    if operation := observed.operation:
        found["operation"] = _operation(operation)
    elif "operation" in app.status:
        found["operation"] = app.status["operation"]  # its number is not given twice
    if plan.commands:
        found["commands"] = [
            {"command": each.command, "value": each.value, "state": each.state, "message": each.message}
            for each in plan.commands
        ]
    if observed.schema:
        seen, schema = observed.schema
        found["schema"] = {
            "expand": " ".join(schema.expand),
            "contract": " ".join(schema.contract),
            "observedAt": manifests.stamp(seen),
        }
    return found


def _steps(app: App, plan: Plan, candidate: Deployment) -> Object:
    """Where a candidate is on its way; nothing for one that has no steps."""
    steps = app.strategy.steps
    if not steps:
        return {}
    record = candidate.record
    found: Object = {"weight": plan.weight, "step": min(record.step + 1, len(steps)), "steps": len(steps)}
    if record.tallies:
        found["analysis"] = [
            {
                "name": tally.name,
                "good": tally.good,
                "bad": tally.bad,
                "unclear": tally.unclear,
                "said": tally.said,
                **({"measuredAt": manifests.stamp(tally.measured)} if tally.measured else {}),
            }
            for tally in record.tallies
        ]
    return found


def _operation(operation: Operation) -> Object:
    found = {
        "kind": operation.kind.value,
        "number": operation.number,
        "stage": operation.stage.value,
        "revision": operation.revision,
        "backup": operation.backup,
        "message": operation.message,
        "startedAt": manifests.stamp(operation.started),
        "endedAt": manifests.stamp(operation.ended) if operation.ended else "",
    }
    return {key: value for key, value in found.items() if value != ""}


def in_trouble(app: App, reason: str, message: str, now: datetime, *, fails: bool) -> Object:
    """The present status, with the one thing added that the operator could not do.

    Where it `fails`, nobody need wait for it; else it may be over at the next attempt, and all else stays as it was.
    """
    before = app.status.get("phase", Phase.PENDING.value)
    phase = Phase.FAILED if fails else Phase.PROGRESSING
    conditions = _conditions(Observed(app), Plan(Outcome(phase, reason, message)), now)
    told = {"Ready", "Reconciling", "Stalled"} if fails else {"Reconciling"}
    kept = [c for c in app.status.get("conditions", ()) if c["type"] not in told]
    return {
        "replicas": 0,
        "readyReplicas": 0,
        "selector": _selector(app),
        **app.status,
        **({"observedGeneration": app.generation} if fails else {}),
        "phase": phase.value if fails else before,
        "message": message,
        "conditions": [c for c in conditions if c["type"] in told] + kept,
    }


def _selector(app: App) -> str:
    return ",".join(f"{key}={value}" for key, value in manifests.pod_selector(app).items())


def _conditions(observed: Observed, plan: Plan, now: datetime) -> list[Object]:
    outcome, app = plan.outcome, observed.app
    serving = any(d and d.serving for d in (observed.stable, plan.candidate)) or not app.replicas
    ready = outcome.phase is Phase.HEALTHY or (outcome.phase is Phase.PAUSED and serving)
    going = outcome.phase not in (Phase.HEALTHY, Phase.PAUSED, Phase.FAILED)
    stalled = outcome.phase is Phase.FAILED
    wanted = {
        "Ready": ("True" if ready else "False", outcome.reason, outcome.message),
        "Reconciling": ("True", outcome.reason, outcome.message)
        if going
        else ("False", "Done", "Nothing is under way."),
        "Stalled": ("True", outcome.reason, outcome.message)
        if stalled
        else ("False", "Unblocked", "Nothing is blocked."),
        "SchemaCurrent": _schema_current(observed, plan),
    }
    before = {c["type"]: c for c in app.status.get("conditions", ())}
    conditions = []
    for kind, (state, reason, message) in wanted.items():
        old = before.get(kind, {})
        since = old.get("lastTransitionTime") if old.get("status") == state else None
        conditions.append(
            {
                "type": kind,
                "status": state,
                "reason": reason,
                "message": message,
                "observedGeneration": app.generation,
                "lastTransitionTime": since or manifests.stamp(now),
            }
        )
    return conditions


def _schema_current(observed: Observed, plan: Plan) -> tuple[str, str, str]:
    if observed.app.migrations is None:
        return "Unknown", "NoMigrations", "This app's releases have no migrations."
    asked = plan.candidate or observed.stable
    known = observed.schema
    if asked is None or known is None or asked.record.image_schema is None:
        return "Unknown", "NotYetSeen", "No migration Job has reported what the database has."
    against = objections(asked.record.image_schema, known[1])
    if against:
        return "False", "Incompatible", f"Revision {asked.record.revision} can't run on the schema: {against[0]}"
    return "True", "Compatible", f"Revision {asked.record.revision} runs on the schema that the database has."


def _history(observed: Observed, stable: Deployment | None) -> list[Object]:
    """Newest first. Entries of forgotten releases stay until they are too many."""
    entries: dict[int, Object] = {int(e["revision"]): dict(e) for e in observed.app.status.get("history", ())}
    for deployment in observed.deployments:
        record = deployment.record
        if record.stage is Stage.PROMOTED:
            outcome = "Stable" if deployment is stable else "Superseded"
        else:
            outcome = OUTCOMES[record.stage]
        entry = {
            "revision": record.revision,
            "release": deployment.release,
            "image": record.image,
            "outcome": outcome,
            "reason": record.reason,
            "message": record.message,
            "startedAt": manifests.stamp(record.started),
            "endedAt": manifests.stamp(record.ended) if record.ended else "",
            "backup": record.backup,
            "schema": record.image_schema.expand[-1] if record.image_schema and record.image_schema.expand else "",
        }
        entries[record.revision] = {key: value for key, value in entry.items() if value != ""}
    for revision, entry in entries.items():
        if entry.get("outcome") == "Stable" and stable and revision != stable.record.revision:
            entry["outcome"] = "Superseded"  # its content came back under a newer number
    return [entries[revision] for revision in sorted(entries, reverse=True)][:HISTORY_LENGTH]
