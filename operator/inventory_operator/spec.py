"""`spec` of an InventoryApp as values. The defaults are the CRD's, for an object that is older than they are."""

from .analysis import builtin_metrics
from .model import (
    COMMANDS,
    GROUP,
    Analyse,
    Analysis,
    Contract,
    Gate,
    Json,
    Metric,
    Migrations,
    Pause,
    Router,
    SetWeight,
    Step,
    Strategy,
)

ROUTED_WARM_SECONDS = 30
"""A router goes on sending requests to the former release until it has taken the change in."""
BLUE_GREEN_WARM_SECONDS = 300


def commands(annotations: Json) -> dict[str, str]:
    """What people order, by command."""
    return {name: annotations[key] for name in COMMANDS if (key := f"{GROUP}/{name}") in annotations}


def strategy(spec: Json) -> Strategy:
    """`spec.strategy`; rolling if there is none."""
    found = spec.get("strategy") or {}
    if "canary" in found:
        return _canary(found["canary"] or {})
    if "blueGreen" in found:
        return _blue_green(found["blueGreen"] or {})
    surge, unavailable = _amounts(found.get("rolling") or {})
    return Strategy(max_surge=surge, max_unavailable=unavailable)


def analysis(spec: Json) -> Analysis | None:
    """`spec.analysis`: the user's metrics, the built-in ones where they are asked for or there are no others."""
    found = spec.get("analysis")
    if found is None:
        return None
    metrics = tuple(_metric(each) for each in found.get("metrics") or ())
    if "builtIn" in found or not metrics:
        metrics = (*builtin_metrics(found.get("builtIn") or {}), *metrics)
    return Analysis(found["prometheus"]["address"].rstrip("/"), metrics, found.get("range", "1m"))


def migrations(spec: Json) -> Migrations | None:
    """`spec.migrations`; None: releases have no migrations."""
    found = spec.get("migrations")
    if found is None:
        return None
    contract = found.get("contract") or {}
    return Migrations(
        secret=found["secret"],
        timeout=found.get("timeoutSeconds", 600),
        database_wait=found.get("databaseWaitSeconds", 60),
        contract=Contract(contract.get("mode") == "Automatic", contract.get("soakSeconds", 3600)),
        backup=found.get("backup"),
    )


def _canary(found: Json) -> Strategy:
    router = _router(found)
    surge, unavailable = _amounts(found)
    return Strategy(
        kind="canary",
        max_surge=surge,
        max_unavailable=unavailable,
        steps=_steps(found),
        router=router,
        dynamic_stable_scale=bool(found.get("dynamicStableScale")),
        warm=found.get("warmSeconds", ROUTED_WARM_SECONDS if router else 0),
    )


def _blue_green(found: Json) -> Strategy:
    steps = _steps(found) if found.get("autoPromote", True) else (*_steps(found), Pause())
    return Strategy(kind="blueGreen", steps=steps, warm=found.get("warmSeconds", BLUE_GREEN_WARM_SECONDS))


def _amounts(found: Json) -> tuple[int | str, int | str]:
    return found.get("maxSurge", "25%"), found.get("maxUnavailable", 0)


def _router(found: Json) -> Router | None:
    for kind in ("ingress", "httpRoute"):
        if kind in found:
            return Router(kind, found[kind]["name"], {k: v for k, v in found[kind].items() if k != "name"})
    return None


def _steps(found: Json) -> tuple[Step, ...]:
    return tuple(_step(each) for each in found.get("steps") or ())


def _step(found: Json) -> Step:
    if "weight" in found:
        return SetWeight(found["weight"])
    if "gate" in found:
        return Gate(found["gate"])
    if "analysis" in found:
        return Analyse()
    return Pause((found.get("pause") or {}).get("seconds"))


def _metric(found: Json) -> Metric:
    good, bad = found["success"], found.get("failure") or {}
    return Metric(
        name=found["name"],
        query=found["query"],
        good_min=good.get("min"),
        good_max=good.get("max"),
        bad_min=bad.get("min"),
        bad_max=bad.get("max"),
        interval=found.get("intervalSeconds", 10),
        count=found.get("count", 3),
        failure_limit=found.get("failureLimit", 0),
        unclear_limit=found.get("inconclusiveLimit", 3),
        empty=found.get("onEmpty", "Inconclusive"),
    )
