"""What a run of the migration command has to do: facts in, decision out."""

from collections.abc import Sequence
from dataclasses import dataclass

from inventory_api.migrations.history import AppliedRevision, database_schema
from inventory_api.migrations.revisions import History, Image, Revision, identifiers
from inventory_api.migrations.rule import DatabaseSchema

BASE = "base"


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
    """What to apply, first `expand` and then `contract`, or what to `revert`, each in the order in which it is done.

    None of it when there is a refusal.
    """

    expand: tuple[str, ...] = ()
    contract: tuple[str, ...] = ()
    revert: tuple[str, ...] = ()
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


def decide_downgrade(facts: Facts, to: str) -> Decision:
    """`to` is the newest contract migration that stays, or BASE for none of them."""
    refusal = _refusal(facts) or _no_way_back_to(facts, to) or _beyond_this_image(facts)
    if refusal:
        return Decision(refusal=refusal)
    applied = facts.schema.contract
    line = facts.image.contract
    stays = 0 if to == BASE else identifiers(line).index(to) + 1
    reverted = [revision for revision in line[stays:] if revision.identifier in applied]
    if reverted:
        refusal = _lossy(reverted) or _required(facts, reverted) or _sessions_that_may_require(facts)
    return Decision(refusal=refusal) if refusal else Decision(revert=identifiers(reversed(reverted)))


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
    foreign = _foreign(facts, history, "contract")
    if not foreign:
        return ""
    return (
        f"the database has {foreign[0].history} migration {foreign[0].identifier}, which this image lacks; "
        f"{_release(foreign[0])} has it: build on that one"
    )


def _foreign(facts: Facts, *histories: History) -> list[AppliedRevision]:
    known = {*identifiers(facts.image.expand), *identifiers(facts.image.contract)}
    return [
        revision for revision in facts.applied if revision.identifier not in known and revision.history in histories
    ]


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


def _no_way_back_to(facts: Facts, to: str) -> str:
    known = (BASE, *identifiers(facts.image.contract))
    if to in known:
        return ""
    return f"{to} is no contract migration of this image; a downgrade goes to one of {', '.join(known)}"


def _beyond_this_image(facts: Facts) -> str:
    """What this image lacks came after all that it has, so it would have to go first."""
    foreign = _foreign(facts, "contract")
    if not foreign:
        return ""
    return (
        f"the database has contract migration {foreign[-1].identifier}, which this image lacks and can't take back; "
        f"{_release(foreign[-1])} has it: run the downgrade from the image of that one"
    )


def _lossy(reverted: Sequence[Revision]) -> str:
    lossy = [revision.identifier for revision in reverted if not revision.lossless_downgrade]
    if not lossy:
        return ""
    return (
        f"contract migration {', '.join(lossy)} can't be taken back without loss; "
        f"restore the backup that was taken before {lossy[0]}"
    )


def _required(facts: Facts, reverted: Sequence[Revision]) -> str:
    """The downgrade runs from the image that serves, so it would break what serves."""
    required = [name for name in identifiers(reverted) if name in facts.image.required_contract]
    if not required:
        return ""
    return (
        f"this release requires contract migration {', '.join(required)}: what it has written since is unreadable for "
        f"releases from before; restore the backup that was taken before {required[0]}"
    )


def _sessions_that_may_require(facts: Facts) -> str:
    """Only the name of another release is known here, so it counts as one that can't do without the contract."""
    if not facts.other_sessions:
        return ""
    return (
        f"services of other releases are still connected: {', '.join(facts.other_sessions)}; "
        "they may require what is to be taken back"
    )


def _release(revision: AppliedRevision) -> str:
    return f"release {revision.release}" if revision.release else "a run by hand"
