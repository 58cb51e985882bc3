"""What divides the requests between the stable release and a candidate: pure functions over the router's objects.

ingress-nginx: a canary Ingress of ours, derived from the user's. Gateway API: weights in the user's own HTTPRoute.
"""

from dataclasses import dataclass
from typing import Any

from .manifests import candidate_name, labels, owner
from .model import MANAGER, App, Json, Object, Traffic

NGINX = "nginx.ingress.kubernetes.io/"
CANARY = f"{NGINX}canary"
CLASS = "kubernetes.io/ingress.class"
DERIVED = ("ingressClassName", "tls", "defaultBackend", "rules")
ALL = 100


@dataclass(frozen=True)
class Routes:
    """The router's objects as the API server has them."""

    named: Object | None = None
    """The Ingress or HTTPRoute that the spec names."""
    canary: Object | None = None
    """The Ingress of ours, of ingress-nginx only."""
    unreadable: str = ""
    """Why they can't be read."""


def traffic(app: App, routes: Routes) -> Traffic:
    """What the router does now. Raises ValueError for an app without one."""
    router = app.strategy.router
    if router is None:
        raise ValueError("the app has no router")
    if routes.unreadable:
        return Traffic(trouble=routes.unreadable)
    kind = "Ingress" if router.kind == "ingress" else "HTTPRoute"
    if routes.named is None:
        present = routes.canary is not None
        return Traffic(_canary_weight(routes.canary), present=present, trouble=f"{kind} {router.name} is not there")
    if router.kind == "ingress":
        return _ingress_traffic(app, routes.named, routes.canary)
    return _route_traffic(app, routes.named)


# --- ingress-nginx ------------------------------------------------------------------------------------------------


def canary_name(app: App) -> str:
    return f"{app.name}-canary"


def canary_ingress(app: App, stable: Object, weight: int) -> Object:
    """The Ingress beside the stable one that takes the candidate's share.

    ingress-nginx gives it the stable one's locations, and reads of its own annotations only those on balancing.
    """
    annotations = stable["metadata"].get("annotations") or {}
    kept = {
        key: value
        for key, value in annotations.items()
        if key == CLASS or (key.startswith(NGINX) and not key.startswith(CANARY) and not key.endswith("-snippet"))
    }
    spec = stable["spec"]
    derived = {
        "ingressClassName": spec.get("ingressClassName"),
        "tls": spec.get("tls"),
        "defaultBackend": _candidate_backend(app, spec.get("defaultBackend") or {}),
        "rules": [rule for each in spec.get("rules") or () if (rule := _candidate_rule(app, each))],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": canary_name(app),
            "namespace": app.namespace,
            "labels": labels(app, "candidate"),
            "annotations": kept | _canary_annotations(app) | {f"{CANARY}-weight": str(weight)},
            "ownerReferences": [owner(app)],
        },
        "spec": {key: value for key, value in derived.items() if value},
    }


def _canary_annotations(app: App) -> dict[str, str]:
    options: Json = app.strategy.router.options if app.strategy.router else {}
    names = {"header": "by-header", "headerValue": "by-header-value", "cookie": "by-cookie"}
    return {CANARY: "true", **{f"{CANARY}-{names[key]}": options[key] for key in names if key in options}}


def _candidate_rule(app: App, rule: Json) -> Object | None:
    """The rule with those of its paths alone that lead to our Service."""
    paths = [
        {**path, "backend": backend}
        for path in (rule.get("http") or {}).get("paths") or ()
        if (backend := _candidate_backend(app, path["backend"]))
    ]
    return {**rule, "http": {"paths": paths}} if paths else None


def _candidate_backend(app: App, backend: Json) -> Object | None:
    service = backend.get("service") or {}
    return {"service": {**service, "name": candidate_name(app)}} if service.get("name") == app.name else None


def _ingress_traffic(app: App, stable: Object, canary: Object | None) -> Traffic:
    wanted = canary_ingress(app, stable, 0)
    trouble = ""
    if not (wanted["spec"].get("rules") or wanted["spec"].get("defaultBackend")):
        trouble = f"Ingress {stable['metadata']['name']} has no backend that is Service {app.name}"
    if canary is None:
        return Traffic(trouble=trouble)
    return Traffic(_canary_weight(canary), _in_step(canary, wanted), trouble, present=True)


def _in_step(found: Object, wanted: Object) -> bool:
    """All that is derived is as it would be derived now; the weight is another matter."""
    labels_kept = wanted["metadata"]["labels"].items() <= (found["metadata"].get("labels") or {}).items()
    # A class that the cluster has given it where the stable one has none is no reason to write it again and again.
    spec = all(
        (found["spec"].get(key) or None) == wanted["spec"].get(key)
        for key in DERIVED
        if key in wanted["spec"] or key != "ingressClassName"
    )
    return labels_kept and spec and _read_by_nginx(found) == _read_by_nginx(wanted)


def _read_by_nginx(ingress: Object) -> Object:
    annotations = ingress["metadata"].get("annotations") or {}
    weight = f"{CANARY}-weight"
    return {k: v for k, v in annotations.items() if k == CLASS or (k.startswith(NGINX) and k != weight)}


def _canary_weight(canary: Object | None) -> int:
    annotations = ((canary or {}).get("metadata") or {}).get("annotations") or {}
    weight = annotations.get(f"{CANARY}-weight", "")
    return min(ALL, int(weight)) if weight.isdecimal() else 0


# --- Gateway API --------------------------------------------------------------------------------------------------


def weighted_rules(app: App, route: Object, weight: int | None) -> list[Object]:
    """The route's rules, ours with the candidate's weight in percent; None: as they are without a candidate.

    Whatever else is in them stays. Without a candidate our backend is alone, where any weight is all: it gets 1, the
    API's default.
    """
    rules = [dict(rule) for rule in route["spec"].get("rules") or ()]
    for rule in rules:
        refs = rule.get("backendRefs") or ()
        ours = [ref for ref in refs if _leads_to(app, ref, app.name)]
        if not ours:
            continue
        others = [ref for ref in refs if not _leads_to(app, ref, candidate_name(app))]
        if weight is None:
            rule["backendRefs"] = [{**ref, "weight": 1} if ref is ours[0] else ref for ref in others]
        else:
            stable = {**ours[0], "weight": ALL - weight}
            candidate = {**ours[0], "name": candidate_name(app), "weight": weight}
            kept = [stable if ref is ours[0] else ref for ref in others]
            rule["backendRefs"] = [*kept, candidate]
    return rules


def _leads_to(app: App, ref: Json, name: str) -> bool:
    return (
        ref["name"] == name
        and ref.get("kind", "Service") == "Service"
        and not ref.get("group")
        and ref.get("namespace", app.namespace) == app.namespace
    )


def _route_traffic(app: App, route: Object) -> Traffic:
    name = f"HTTPRoute {route['metadata']['name']}"
    rules = [rule.get("backendRefs") or () for rule in route["spec"].get("rules") or ()]
    ours = [refs for refs in rules if any(_leads_to(app, ref, app.name) for ref in refs)]
    candidates = [[ref for ref in refs if _leads_to(app, ref, candidate_name(app))] for refs in ours]
    if not ours:
        return Traffic(trouble=f"{name} has no rule with the backend {app.name}")
    weights = {_percent(app, refs) for refs in ours}
    # Our name on its fields is the last thing to go, and may be left by itself: somebody wrote to the route meanwhile.
    ours_named = any(entry.get("manager") == MANAGER for entry in route["metadata"].get("managedFields") or ())
    present = any(candidates) or ours_named
    trouble = ""
    if any(len(refs) - len(ref) != 1 for refs, ref in zip(ours, candidates, strict=True)):
        trouble = f"{name} has a rule with further backends beside {app.name}: give them a rule of their own"
    elif None in weights:
        trouble = f"{name} has a rule in which neither {app.name} nor {candidate_name(app)} has a weight above 0"
    elif len(weights) > 1:
        trouble = f"{name} has rules that divide the requests differently: somebody else has changed it"
    weight = max((w for w in weights if w is not None), default=0)
    as_wanted = not any(candidates) or _candidates_in_step(app, route)
    return Traffic(weight, as_wanted, trouble, present)


def _percent(app: App, refs: Any) -> int | None:
    """The candidate's share of our requests; None if there are none."""
    stable, candidate = (
        sum(ref.get("weight", 1) for ref in refs if _leads_to(app, ref, each))
        for each in (app.name, candidate_name(app))
    )
    return round(ALL * candidate / (stable + candidate)) if stable + candidate else None


def _candidates_in_step(app: App, route: Object) -> bool:
    """Each of our rules has the candidate beside our Service, the same but for name and weight."""

    def without_weights(rules: Any) -> list[Any]:
        return [
            [{k: v for k, v in ref.items() if k != "weight"} for ref in rule.get("backendRefs") or ()] for rule in rules
        ]

    return without_weights(route["spec"]["rules"]) == without_weights(weighted_rules(app, route, 0))
