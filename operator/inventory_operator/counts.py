"""How many pods each release has, from moment to moment. Pure arithmetic: a test is values in, values out.

Ready pods of all releases together never fall below `replicas` less maxUnavailable because of it, and all pods never
exceed `replicas` plus maxSurge, unless a router gives each release its own share.
"""

import math
from collections.abc import Iterable, Sequence

from .model import App, Deployment, Stage


def amounts(app: App) -> tuple[int, int]:
    """maxSurge (rounded up) and maxUnavailable (rounded down) as pods; never both zero, as with a Deployment."""
    surge = math.ceil(_amount(app.strategy.max_surge, app.replicas))
    unavailable = math.floor(_amount(app.strategy.max_unavailable, app.replicas))
    return (surge, unavailable) if surge or unavailable else (1, 0)


def stable_share(weight: int, replicas: int) -> int:
    """Pods for what the candidate's weight (percent) leaves, rounded up: the stable release carries the rest safely."""
    return math.ceil((100 - weight) * replicas / 100)


def candidate_share(weight: int, replicas: int) -> int:
    """Pods for the candidate's weight (percent) where pods are the traffic: at least one, for its steps need one."""
    return min(replicas, max(1, replicas - stable_share(weight, replicas)))


def routed_share(weight: int, replicas: int) -> int:
    """Pods for the candidate's weight (percent) where a router divides the requests: they must be able to carry it."""
    return min(replicas, max(1, math.ceil(weight * replicas / 100)))


def bearable(app: App, ready: int) -> int:
    """What so many ready pods bear of the requests, in percent; as many as maxUnavailable may lack."""
    _, unavailable = amounts(app)
    if not app.replicas:
        return 100
    return min(100, 100 * (ready + unavailable) // app.replicas) if ready else 0


def balance(app: App, keep: Deployment, others: Iterable[Deployment], weight: int = 100) -> dict[str, int]:
    """Replicas by release for the next moment, on the way to `keep`'s share of `replicas`.

    The rest is the stable release's; whatever else has pods goes. Pods that aren't ready go first, but only as far as
    ready ones take their place: they may be starting, or be back in a moment. (The Deployment controller does the same
    with its old ReplicaSets.) Those of a failed release hope for nothing, and go at once.
    """
    others = sorted(others, key=lambda d: (d.record.stage is Stage.PROMOTED, d.record.revision))
    surge, unavailable = amounts(app)
    most, least = app.replicas + surge, app.replicas - unavailable
    goal = app.replicas if weight == 100 else candidate_share(weight, app.replicas)
    floors = _floors(others, min(stable_share(weight, app.replicas), most - goal))
    wanted = _reduced(keep, others, floors, least)
    for other in others:
        room = most - keep.replicas - sum(wanted.values())
        wanted[other.release] += max(0, min(floors[other.release] - wanted[other.release], room))
    room = most - sum(wanted.values())
    still_needed = least - sum(min(d.serving, wanted[d.release]) for d in others)
    wanted[keep.release] = max(min(goal, max(keep.replicas, room)), min(keep.replicas, still_needed))
    return wanted


def _floors(others: Sequence[Deployment], share: int) -> dict[str, int]:
    """The stable release keeps its share; it is the last of `others`, if there is one."""
    floors = {d.release: 0 for d in others}
    if others and others[-1].record.stage is Stage.PROMOTED:
        floors[others[-1].release] = max(0, share)
    return floors


def _reduced(keep: Deployment, others: Sequence[Deployment], floors: dict[str, int], least: int) -> dict[str, int]:
    """What is left of the others when as many go as may."""
    hopeless = [d for d in others if d.record.stage is Stage.FAILED]
    hoped = keep.serving + sum(d.serving if d in hopeless else d.replicas for d in others)
    spare_pods = max(0, hoped - least)
    spare_ready = max(0, keep.serving + sum(d.serving for d in others) - least)
    wanted = {d.release: d.replicas for d in others}
    for other in others:
        unready = min(other.replicas - other.serving, other.replicas - min(other.replicas, floors[other.release]))
        go = unready if other in hopeless else min(unready, spare_pods)
        spare_pods -= 0 if other in hopeless else go
        wanted[other.release] -= go
    for other in others:
        above = max(0, wanted[other.release] - floors[other.release])
        go = min(other.serving, above, spare_pods, spare_ready)
        spare_pods, spare_ready = spare_pods - go, spare_ready - go
        wanted[other.release] -= go
    return wanted


def _amount(value: int | str, replicas: int) -> float:
    return value if isinstance(value, int) else int(value.rstrip("%")) * replicas / 100
