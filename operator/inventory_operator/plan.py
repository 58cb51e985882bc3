"""The decision: from what was observed and the time to what is to be done. Pure: a test is values in, values out.

Each app is in one of these states: work on its database is under way (`operations`), a release is on its way or has
failed (`rollout`), it is held, or at rest. Nothing is remembered between passes.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from . import commands, operations
from .actions import (
    Action,
    CommandState,
    CreateDeployment,
    DeleteDeployment,
    DeleteJob,
    Emit,
    Outcome,
    Phase,
    Plan,
    SetReplicas,
    UpdateDeployment,
)
from .counts import amounts
from .jobs import ENDING_SECONDS, not_ready
from .model import App, Deployment, Observed, Stage, seconds_to
from .rollout import Rollout, begin, give_up, restarts
from .traffic import Shift


def plan(observed: Observed, now: datetime) -> Plan:
    """The next step for an app, and what to say about it."""
    app, decided = observed.app, _in_the_way(observed) or _decided(observed, now)
    told = commands.states(observed, decided.candidate)
    refused = [state for state in told if state.state == "Refused" and not _said_before(app, state)]
    events = (Emit("Warning", "CommandRefused", f"{s.command}={s.value}: {s.message}") for s in refused)
    first = (SetReplicas(app.replicas),) if app.replicas_unset else ()
    return replace(decided, actions=(*first, *_merged(decided.actions), *events), commands=told)


def _in_the_way(observed: Observed) -> Plan | None:
    """Objects that have the names we need, and aren't ours."""
    if observed.leaving:
        names = ", ".join(observed.leaving)
        said = f"Waits for the end of what an InventoryApp of this name had before: {names}."
        return Plan(Outcome(Phase.PENDING, "AwaitingDeletion", said), check_after=ENDING_SECONDS)
    if observed.foreign:
        said = f"{', '.join(observed.foreign)} has another owner: rename it or the InventoryApp."
        told = () if observed.app.status.get("message") == said else (Emit("Warning", "InvalidSpec", said),)
        return Plan(Outcome(Phase.FAILED, "InvalidSpec", said), told)
    return None


def _decided(observed: Observed, now: datetime) -> Plan:
    target = observed.target
    if at_work := operations.under_way(observed, now) or operations.ordered(observed, now):
        return at_work
    if target is not None and target is observed.stable:
        return _rest(observed, now, target)
    if observed.app.paused:
        return _hold(observed, now)
    return Rollout(observed, now, target).go_on() if target else begin(observed, now)


def _rest(observed: Observed, now: datetime, stable: Deployment) -> Plan:
    """The content that the spec asks for serves. What was on its way is given up, and contract may follow."""
    app, shift = observed.app, Shift(observed, now)
    _, unavailable = amounts(app)
    enough = stable.serving >= min(app.replicas, max(1, app.replicas - unavailable))
    actions = [*shift.settle(stable), *give_up(observed, now, stable, "Aborted")]
    actions = actions or [*_forget(observed, stable)]  # nobody waits for it
    soak = operations.Soak("")
    if enough and not app.paused and not observed.on_their_way:
        begun = operations.contract_due(observed, now, stable)
        if isinstance(begun, Plan):
            return begun
        soak = begun or soak
        actions += restarts(app, stable, shift.warm(stable))
    said = f"Revision {stable.record.revision} serves with {stable.serving} of {app.replicas} pods"
    if not enough:
        why = not_ready(observed.pods_of(stable))
        outcome = Outcome(Phase.PROGRESSING, "PodsNotReady", f"{said}{why}.")
    elif app.paused:
        outcome = Outcome(Phase.PAUSED, "Paused", f"{said}; releases are paused.")
    else:
        outcome = Outcome(Phase.HEALTHY, "Serving", f"{said}{soak.said}.")
    looks = (soak.until, shift.warm_until(stable))
    return Plan(outcome, tuple(actions), seconds_to(min((u for u in looks if u), default=None), now))


def _hold(observed: Observed, now: datetime) -> Plan:
    """Paused: nothing begins and nothing moves on; the stable release alone still follows `replicas`.

    What rolls out keeps the pods and the requests that it has, and its progress deadline stands still.
    """
    app, stable, shift = observed.app, observed.stable, Shift(observed, now)
    rolling = [d for d in observed.releases if d.record.stage is Stage.ROLLING]
    held = max(rolling, key=lambda d: d.record.revision, default=observed.target)
    if held and held.record.stage is Stage.ROLLING and (aborted := Rollout(observed, now, held).abort()):
        return aborted
    actions = list(shift.hold(held))
    if held and held.record.progressed:
        actions.append(UpdateDeployment(held, record=replace(held.record, progressed=None)))
    serving = " and ".join(
        f"revision {d.record.revision} serves with {d.serving} of {app.replicas} pods"
        for d in (stable, held)
        if d and d.serving
    )
    said = f"Releases are paused; {serving or 'nothing serves'}. Remove spec.paused to go on."
    return Plan(Outcome(Phase.PAUSED, "Paused", said), tuple(actions), candidate=held, weight=shift.weight)


def _forget(observed: Observed, stable: Deployment) -> Iterable[Action]:
    """Keep the history short; the highest revision stays, so that a number is never given twice."""
    newest_first = sorted(observed.releases, key=lambda d: d.record.revision, reverse=True)
    idle = [d for d in newest_first if d is not stable and not d.replicas and not d.pods]
    for old in idle[observed.app.history_limit :]:
        if old is not newest_first[0]:
            yield DeleteDeployment(old)
    kept = {d.record.revision for d in observed.releases}
    for job in observed.jobs:
        if not job.active and not job.deleting and job.revision not in kept:
            yield DeleteJob(job)


def _said_before(app: App, state: CommandState) -> bool:
    said = {(s.get("command"), s.get("value"), s.get("state")) for s in app.status.get("commands", ())}
    return (state.command, state.value, state.state) in said


def _merged(actions: Iterable[Action]) -> Iterable[Action]:
    """One write an object a pass: a second one would carry an outdated resource version.

    It comes where the first one was, before the Event that tells of it.
    """
    merged: dict[object, Action] = {}
    for number, action in enumerate(actions):
        key: object = number
        if isinstance(action, CreateDeployment):
            key = action.release
            before = merged.get(key)
            if isinstance(before, UpdateDeployment):
                action = replace(action, replicas=before.replicas or 0)
        elif isinstance(action, UpdateDeployment):
            key = action.deployment.release
            before = merged.get(key)
            if isinstance(before, UpdateDeployment):
                action = UpdateDeployment(
                    action.deployment,
                    replicas=before.replicas if action.replicas is None else action.replicas,
                    record=action.record or before.record,
                    image=action.image or before.image,
                    restarted=action.restarted or before.restarted,
                )
        merged[key] = action
    return merged.values()
