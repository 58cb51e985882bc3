"""What the page shows of an app, and which buttons it has. Pure: values in, JSON out. Times go out as they are."""

from typing import Any

from inventory_api.migrations.rule import abbreviated

from .. import orders
from ..apps import App, Pod, Release, hash_of
from ..tables import back
from ..tree import place_in_steps

Object = dict[str, Any]

HISTORY_LENGTH = 8
_MOODS = {"Healthy": "good", "Failed": "bad"}


def card(app: App, *, allowed: bool) -> Object:
    """`allowed`: the person may change this app."""
    status = app.status
    phase = str(status.get("phase") or "Not seen yet")
    return {
        "namespace": app.namespace,
        "name": app.name,
        "phase": phase,
        "mood": _MOODS.get(phase, "notice"),
        "message": str(status.get("message") or "No operator has looked at this app yet."),
        "releases": [_release(app, each) for each in app.releases if _is_shown(app, each)],
        "analysis": [_metric(each) for each in status.get("analysis", ())] if app.candidate else [],
        "schema": _schema(app),
        "seen": app.database[0].isoformat() if app.database else "",
        "operation": _operation(app),
        "history": [_entry(app, each) for each in app.history[:HISTORY_LENGTH]],
        "allowed": allowed,
        "orders": _orders(app),
    }


def _orders(app: App) -> list[Object]:
    """The value tells the server what the person saw: an order for anything else is refused."""
    candidate = app.candidate
    if candidate is None or candidate.stage == "failed":
        return []
    found = [
        ("promote", f"Promote step {candidate.step + 1}", orders.promote(app, full=False), ""),
        (
            "promote-full",
            "Promote fully",
            orders.promote(app, full=True),
            "All further steps and analyses are skipped.",
        ),
        ("abort", "Abort", orders.abort(app), f"Revision {candidate.revision} is given up."),
    ]
    if not app.steps_of() or candidate.stage != "rolling":
        found = found[2:]
    return [
        {"action": action, "label": label, "value": order.value, "question": question}
        for action, label, order, question in found
    ]


def _is_shown(app: App, release: Release) -> bool:
    return release in (app.stable, app.candidate) or bool(release.replicas or app.pods_of(release))


def _release(app: App, release: Release) -> Object:
    role = "stable" if release is app.stable else "candidate" if release is app.candidate else "former"
    weight = app.status.get("weight")
    share = None if weight is None or role == "former" else weight if role == "candidate" else 100 - weight
    return {
        "revision": release.revision,
        "role": "failed" if role == "candidate" and release.stage == "failed" else role,
        "weight": share,
        "ready": release.ready,
        "replicas": release.replicas,
        "image": release.image,
        "place": place_in_steps(app, release) if role == "candidate" else "",
        "pods": [_pod(each) for each in app.pods_of(release)],
    }


def _pod(pod: Pod) -> Object:
    said = pod.said if pod.state in ("waiting", "starting", "failed") else ""
    return {"name": pod.name, "state": pod.state, "said": said, "created": pod.created.isoformat()}


def _metric(each: Object) -> Object:
    return {key: each.get(key, 0) for key in ("good", "bad", "unclear")} | {
        "name": each["name"],
        "said": str(each.get("said", "")),
    }


def _schema(app: App) -> str:
    if not app.spec.get("migrations"):
        return "This app has no migrations."
    if app.schema is None:
        return "No migration Job has reported yet."
    contract = f", contract {abbreviated(app.schema.contract)}" if app.schema.contract else ""
    return f"Schema: expand {abbreviated(app.schema.expand)}{contract}"


def _operation(app: App) -> str:
    found = app.status.get("operation") or {}
    if str(found.get("stage", "done")).lower() == "done":
        return ""
    return f"{found['kind']} {found['number']}: {found['stage']} {found.get('message', '')}".rstrip()


def _entry(app: App, entry: Object) -> Object:
    release = app.by_hash(str(entry.get("release", "")))
    can = back(app, entry)
    served = release is not None and release.served and release.hash != hash_of(app.spec)
    return {
        "revision": int(entry["revision"]),
        "outcome": str(entry.get("outcome", "")),
        "image": str(entry.get("image", "")),
        "message": str(entry.get("message", "")),
        "started": str(entry.get("startedAt", "")),
        "back": can,
        "rollback": release.hash if release and served and can in ("yes", "?") else "",
    }
