"""The steps of a strategy, and what each means for pods and traffic."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from .counts import candidate_share, routed_share
from .model import App, Record, SetWeight, Step, Strategy


def digest(steps: Sequence[Step]) -> str:
    """Tells whether the steps that a release counts are still the same; their number stands at its end."""
    if not steps:
        return ""
    canonical = json.dumps([[type(step).__name__, asdict(step)] for step in steps], sort_keys=True)
    return f"{hashlib.sha256(canonical.encode()).hexdigest()[:8]}-{len(steps)}"


def count(record: Record) -> int:
    """How many steps there were when the release began to count them."""
    return int(record.steps.rpartition("-")[2] or 0)


def weight(strategy: Strategy, step: int) -> int:
    """The candidate's share of the requests, in percent, at a step (counted from 0); 100 when all steps are over."""
    if step >= len(strategy.steps):
        return 100
    return next((s.weight for s in reversed(strategy.steps[: step + 1]) if isinstance(s, SetWeight)), 0)


def pods(app: App, weight: int) -> int:
    """Pods that the candidate has at a weight."""
    if weight == 100 or app.strategy.kind == "blueGreen":
        return app.replicas
    return routed_share(weight, app.replicas) if app.strategy.router else candidate_share(weight, app.replicas)
