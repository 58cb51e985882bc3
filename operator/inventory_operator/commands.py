"""What people order by annotation, and what became of it.

An order names what it is for: a revision, a step of it, the number of an operation, the object's UID where it destroys.
So each can be given again, a stale one harms nobody, and none need ever be taken away.
"""

from dataclasses import dataclass

from .actions import CommandState
from .model import App, Deployment, Observed, Record, Stage, Work, WorkStage

WORKS = {work.value: work for work in Work}


@dataclass(frozen=True)
class Order:
    """A command that is well-formed. Parts that its kind doesn't have are 0 or empty."""

    command: str
    value: str
    revision: int
    step: int = 0
    number: int = 0
    uid: str = ""


def order(app: App, command: str) -> Order | None:
    """The order that an annotation gives; None if there is none, or one that can't be read."""
    value = app.commands.get(command, "")
    parts = value.split("/")
    try:
        if command in WORKS:
            uid, revision, number = parts
            return Order(command, value, int(revision), number=int(number), uid=uid)
        if command == "promote":
            revision, step = parts
            return Order(command, value, int(revision), step=int(step))
        if command == "restart":
            revision, _ = parts
            return Order(command, value, int(revision))
        (revision,) = parts
        return Order(command, value, int(revision))
    except ValueError:
        return None


def promotes(app: App, record: Record) -> bool:
    """Whether somebody promotes the step that this candidate is at."""
    found = order(app, "promote")
    return found is not None and (found.revision, found.step) == (record.revision, record.step + 1)


def names(app: App, command: str, record: Record) -> bool:
    """Whether a command names this revision, and nothing besides it needs to fit."""
    found = order(app, command)
    return found is not None and found.revision == record.revision


def operation_ordered(observed: Observed) -> Order | None:
    """The contract, downgrade or restore that is ordered now: the one with the next number."""
    app, following = observed.app, observed.operation_number + 1
    found = (order(app, command) for command in WORKS)
    return next((o for o in found if o and o.uid == app.uid and o.number == following), None)


def states(observed: Observed, candidate: Deployment | None) -> tuple[CommandState, ...]:
    """What became of each order that is given, for the status."""
    given = observed.app.commands
    return tuple(
        CommandState(command, given[command], *_state(observed, command, candidate)) for command in sorted(given)
    )


_FORMS = {
    "promote": "<revision>/<step>",
    "promote-full": "<revision>",
    "abort": "<revision>",
    "retry": "<revision>",
    "restart": "<revision>/<anything>",
    **dict.fromkeys(WORKS, "<UID>/<revision>/<number>"),
}


def _state(observed: Observed, command: str, candidate: Deployment | None) -> tuple[str, str]:
    found, stable = order(observed.app, command), observed.stable
    if found is None:
        return "Refused", f"inventory.dev/{command} has the form {_FORMS[command]}."
    if command in WORKS:
        return _operation_state(observed, found)
    if command == "restart":
        return _restart_state(found, stable)
    if candidate is None or candidate is stable or candidate.record.revision > found.revision:
        return "Stale", f"Revision {found.revision} is not on its way."
    record = candidate.record
    if record.revision < found.revision:
        return "Awaited", f"There is no revision {found.revision} yet."
    if command == "promote" and found.step <= record.step:
        return "Done", f"Step {found.step} of revision {record.revision} is past."
    if command == "promote" and found.step > record.step + 1:
        return "Awaited", f"Revision {record.revision} is at step {record.step + 1}; step {found.step} comes later."
    if record.stage is not Stage.FAILED:
        if command == "retry":
            return "Awaited", f"Revision {record.revision} has not failed."
        return "Taken", f"It is for revision {record.revision}, which is on its way."
    if command == "abort" and not record.held:
        return "Done", f"Revision {record.revision} is given up."
    if command != "retry" and not record.held:
        skipped = command == "promote-full" and record.step >= len(observed.app.strategy.steps)
        return "Done" if skipped else "Stale", f"Revision {record.revision} has failed."
    return "Taken", f"It is for revision {record.revision}, which has failed."


def _operation_state(observed: Observed, found: Order) -> tuple[str, str]:
    app, last, number = observed.app, observed.operation, observed.operation_number
    if found.uid != app.uid:
        return "Refused", f"It is for the object with UID {found.uid}; this one has {app.uid}."
    if app.migrations is None:
        return "Refused", "This app's releases have no migrations: spec.migrations is not set."
    if found.number > number + 1:
        return "Awaited", f"The next operation has number {number + 1}."
    if last and found.number == last.number and found.command == last.kind:
        if last.going:
            return "Taken", "It is under way."
        return _ended(last.stage, last.message)
    told = {} if last else app.status.get("operation") or {}  # the release that had it on record is forgotten
    same = (told.get("number"), told.get("kind")) == (found.number, found.command)
    if same and told.get("stage") in (WorkStage.DONE, WorkStage.FAILED):
        return _ended(told["stage"], told.get("message", ""))
    if found.number <= number:
        return "Stale", f"Operation {found.number} is past; the next one has number {number + 1}."
    if found.command == Work.CONTRACT and observed.target is not observed.stable:
        return "Awaited", "It waits until what the spec asks for serves."
    return "Awaited", "It waits until nothing else is under way."


def _ended(stage: str, message: str) -> tuple[str, str]:
    return "Failed" if stage == WorkStage.FAILED else "Done", message or "It is over."


def _restart_state(found: Order, stable: Deployment | None) -> tuple[str, str]:
    if stable is None or stable.record.revision != found.revision:
        return "Stale", f"Revision {found.revision} does not serve."
    if stable.restarted.endswith(f" {found.value}"):
        return "Done", f"The pods of revision {found.revision} were told to restart."
    return "Awaited", "It waits until no candidate is in the middle of something."
