"""What a person orders of the operator: the annotations, and what an order takes away for good. Pure.

Each value names what it is for, so that it is harmless when it comes late or twice; what destroys names the UID too.
"""

from dataclasses import dataclass

from ..model import GROUP
from .apps import App, Release
from .exits import Ended, Exit
from .text import joined

_ENDED = ("done", "failed")


@dataclass(frozen=True)
class Order:
    """One annotation."""

    command: str
    value: str
    said: str
    """What was ordered, in words."""
    revision: int = 0
    step: int = 0
    warning: str = ""
    """What can't be taken back. Not empty: it wants a confirmation."""
    operation: int = 0
    """Number of the work on the database, 0 if it is none."""

    @property
    def annotation(self) -> dict[str, str]:
        return {f"{GROUP}/{self.command}": self.value}


def promote(app: App, *, full: bool) -> Order:
    """On to the next step; `full`: past all of them."""
    candidate = _candidate(app)
    if full:
        said = f"revision {candidate.revision} is to serve at once, without its further steps and analyses"
        return Order("promote-full", str(candidate.revision), said, candidate.revision)
    step = candidate.step + 1
    said = f"revision {candidate.revision} is to go on from step {step}"
    return Order("promote", f"{candidate.revision}/{step}", said, candidate.revision, step)


def abort(app: App) -> Order:
    candidate = _candidate(app)
    said = f"revision {candidate.revision} is to be given up"
    return Order("abort", str(candidate.revision), said, candidate.revision)


def retry(app: App) -> Order:
    failed = app.candidate
    if failed is None or failed.stage != "failed":
        raise Ended(Exit.REFUSED, f"{app.name} has no failed release that could be tried again")
    said = f"revision {failed.revision} is to be tried again, under a new number"
    return Order("retry", str(failed.revision), said, failed.revision)


def restart(app: App, token: str) -> Order:
    stable = _stable(app)
    said = f"the pods of revision {stable.revision} are to be replaced"
    return Order("restart", f"{stable.revision}/{token}", said, stable.revision)


def contract(app: App) -> Order:
    """Raises Ended also where there is nothing to take away."""
    stable, number = _stable(app), _next_operation(app)
    pending = _pending_contracts(app, stable)
    if stable.schema and app.schema and not pending:
        raise Ended(Exit.DONE, f"the database has all contract migrations of revision {stable.revision} already")
    names = f" {joined(pending)}" if pending else "s that are pending"
    lost = [each.revision for each in app.releases if each is not stable and _breaks(each, pending)]
    unknown = [each.revision for each in app.releases if each.schema is None]
    warning = f"The contract migration{'s' if len(pending) > 1 else ''}{names} can be undone by no rollback. "
    warning += f"{_revisions(lost)} can't come back after it." if lost else "No kept revision is lost by it."
    if unknown:
        warning += f" Of {_revisions(unknown).lower()} nobody knows."
    backup = (app.spec.get("migrations") or {}).get("backup")
    warning += " A backup is taken before." if backup else " No backup is taken before: spec.migrations has none."
    value = f"{app.uid}/{stable.revision}/{number}"
    said = f"contract {number} is to run from revision {stable.revision}"
    return Order("contract", value, said, stable.revision, warning=warning, operation=number)


def downgrade(app: App, revision: int) -> Order:
    """Contract migrations that declare themselves lossless are undone until this revision fits again."""
    target, number = _kept(app, revision), _next_operation(app)
    foreign = [each for each in (app.schema.contract if app.schema else ()) if each not in _contracts(target)]
    if target.schema and app.schema and not foreign:
        raise Ended(Exit.DONE, f"revision {revision} runs on the schema that the database has: roll back to it")
    lost = [each.revision for each in app.releases if each.schema and set(each.schema.required_contract) & set(foreign)]
    warning = f"The contract migrations {joined(foreign)} are undone" if foreign else "The schema changes"
    warning += ", if each declares that this loses nothing. Contract is manual then until the next promotion."
    warning += f" {_revisions(lost)} can't run on the older schema." if lost else ""
    value = f"{app.uid}/{target.revision}/{number}"
    said = f"downgrade {number} is to make revision {target.revision} fit again"
    return Order("downgrade", value, said, target.revision, warning=warning, operation=number)


def restore(app: App, revision: int) -> Order:
    """The backup that was taken before this revision's contract."""
    number = _next_operation(app)
    backups = {int(entry["revision"]): str(entry["backup"]) for entry in app.history if entry.get("backup")}
    if revision not in backups:
        there = f"there are backups of {_revisions(list(backups)).lower()}" if backups else "there is none of any"
        raise Ended(Exit.REFUSED, f"no backup was taken before the contract of revision {revision}: {there}")
    warning = (
        f"The database goes back to the backup {backups[revision]}: all that was written since is lost, and the "
        "service stands still meanwhile. A revision that needs later migrations can't serve until they ran again."
    )
    value = f"{app.uid}/{revision}/{number}"
    said = f"restore {number} is to bring back the backup from before the contract of revision {revision}"
    return Order("restore", value, said, revision, warning=warning, operation=number)


def _pending_contracts(app: App, stable: Release) -> list[str]:
    applied = app.schema.contract if app.schema else ()
    return [each for each in _contracts(stable) if each not in applied]


def _breaks(release: Release, contracts: list[str]) -> bool:
    return release.schema is not None and not set(contracts) <= set(release.schema.contract)


def _contracts(release: Release) -> tuple[str, ...]:
    return release.schema.contract if release.schema else ()


def _candidate(app: App) -> Release:
    if app.candidate is None:
        raise Ended(Exit.REFUSED, f"{app.name} has no release on its way")
    return app.candidate


def _stable(app: App) -> Release:
    if app.stable is None:
        raise Ended(Exit.REFUSED, f"{app.name} has no release that serves yet")
    return app.stable


def _kept(app: App, revision: int) -> Release:
    found = app.by_revision(revision)
    if found is None:
        kept = joined(each.revision for each in app.releases) or "none"
        raise Ended(Exit.REFUSED, f"revision {revision} of {app.name} is not kept; kept: {kept}")
    return found


def _next_operation(app: App) -> int:
    if not app.spec.get("migrations"):  # the operator would wait for them for ever
        raise Ended(Exit.REFUSED, f"{app.name} has no spec.migrations: its database is left alone")
    operation = app.status.get("operation") or {}
    number = int(operation.get("number", 0))
    if number and str(operation.get("stage", "")).lower() not in _ENDED:
        raise Ended(Exit.REFUSED, f"{operation.get('kind')} {number} is under way: {operation.get('stage')}")
    return number + 1


def _revisions(numbers: list[int]) -> str:
    return f"Revision{'s' if len(numbers) > 1 else ''} {joined(sorted(numbers))}"
