"""What a run of the migration command has to do: facts in, decision out."""

from collections.abc import Sequence
from dataclasses import dataclass

from inventory_api.migrations.history import AppliedRevision, database_schema
from inventory_api.migrations.revisions import History, Image, Revision, identifiers
from inventory_api.migrations.rule import DatabaseSchema


@dataclass(frozen=True)
class Facts:
    """What a run knows when it holds the lock.

    `app_uid` is empty when a person runs the command, `owner` while no InventoryApp has claimed the database.
    `other_sessions` are the application names of services of other releases that are connected now.
    `contract_follows` is true until the contract migrations of a fresh install are done.
    """

    image: Image
    applied: tuple[AppliedRevision, ...] = ()
    app_uid: str = ""
    owner: str = ""
    contract_follows: bool = False
    service_role: str = ""
    service_role_exists: bool = True
    other_sessions: tuple[str, ...] = ()

    @property
    def schema(self) -> DatabaseSchema:
        return database_schema(self.applied)


@dataclass(frozen=True)
class Decision:
    """The revisions to apply, in this order: `expand`, then `contract`. None of them when there is a refusal."""

    expand: tuple[str, ...] = ()
    contract: tuple[str, ...] = ()
    refusal: str = ""


def decide_expand(facts: Facts) -> Decision:
    pending = _pending(facts, "expand")
    refusal = _refusal(facts)
    if pending and not refusal:
        refusal = _blocked(facts, "expand")
    if refusal:
        return Decision(refusal=refusal)
    if not facts.contract_follows:
        return Decision(expand=pending)
    # Nothing has run on this database yet that a contract could break.
    return Decision(expand=pending, contract=_pending(facts, "contract"))


def decide_contract(facts: Facts) -> Decision:
    pending = _pending(facts, "contract")
    refusal = _refusal(facts)
    if pending and not refusal:
        refusal = _blocked(facts, "contract") or _missing_expand(facts, pending) or _live_sessions(facts)
    return Decision(refusal=refusal) if refusal else Decision(contract=pending)


def pending_revisions(facts: Facts, history: History) -> tuple[Revision, ...]:
    applied = {revision.identifier for revision in facts.applied}
    return tuple(revision for revision in facts.image.history(history) if revision.identifier not in applied)


def _pending(facts: Facts, history: History) -> tuple[str, ...]:
    return identifiers(pending_revisions(facts, history))


def _refusal(facts: Facts) -> str:
    return _foreign_owner(facts) or _missing_role(facts) or _edited(facts) or _hole(facts)


def _foreign_owner(facts: Facts) -> str:
    if not facts.app_uid or not facts.owner or facts.owner == facts.app_uid:
        return ""
    return (
        f"this database belongs to the InventoryApp with UID {facts.owner}, not {facts.app_uid}; "
        "if it is meant to change hands, run `inventory-api migrate adopt`"
    )


def _missing_role(facts: Facts) -> str:
    if facts.service_role_exists:
        return ""
    return f"the service's role {facts.service_role} does not exist in this database server"


def _edited(facts: Facts) -> str:
    """A revision that a database has seen is never edited: another database would get another schema."""
    known = {revision.identifier: revision for revision in (*facts.image.expand, *facts.image.contract)}
    edited = [
        revision
        for revision in facts.applied
        if revision.identifier in known and known[revision.identifier].checksum != revision.checksum
    ]
    if not edited:
        return ""
    return (
        f"migration {edited[0].identifier} was edited after {_release(edited[0])} applied it "
        f"(checksum {edited[0].checksum[:12]} in the database, "
        f"{known[edited[0].identifier].checksum[:12]} in this image); put the change into a new migration"
    )


def _hole(facts: Facts) -> str:
    applied = {revision.identifier for revision in facts.applied}
    for line in (facts.image.expand, facts.image.contract):
        missing = ""
        for name in identifiers(line):
            if name not in applied:
                missing = missing or name
            elif missing:
                return f"migration {name} is applied but {missing}, which goes before it, is not"
    return ""


def _blocked(facts: Facts, history: History) -> str:
    """This image would have to build on revisions it doesn't have, or on what was removed from under it."""
    known = {*identifiers(facts.image.expand), *identifiers(facts.image.contract)}
    foreign = [
        revision
        for revision in facts.applied
        if revision.identifier not in known and revision.history in (history, "contract")
    ]
    if not foreign:
        return ""
    return (
        f"the database has {foreign[0].history} migration {foreign[0].identifier}, which this image lacks; "
        f"{_release(foreign[0])} has it: build on that one"
    )


def _missing_expand(facts: Facts, pending: Sequence[str]) -> str:
    for revision in facts.image.contract:
        needed = revision.requires_expand
        if revision.identifier in pending and needed and needed not in facts.schema.expand:
            return f"contract migration {revision.identifier} requires expand migration {needed}, which is not applied"
    return ""


def _live_sessions(facts: Facts) -> str:
    """Any other release counts as one that the contract breaks: the safe answer where only the name is known."""
    if not facts.other_sessions:
        return ""
    return (
        f"services of other releases are still connected: {', '.join(facts.other_sessions)}; "
        "a contract migration would break them"
    )


def _release(revision: AppliedRevision) -> str:
    return f"release {revision.release}" if revision.release else "a run by hand"
