"""The compatibility rule: which release can run on which schema.

The one implementation, asked by the service, the migration command and the operator. Standard library only.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSchema:
    """What a release knows and needs: the revisions in its image, oldest first."""

    expand: tuple[str, ...]
    contract: tuple[str, ...]
    required_contract: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatabaseSchema:
    """What is applied in a database, whoever applied it."""

    expand: tuple[str, ...]
    contract: tuple[str, ...]


def objections(image: ImageSchema, database: DatabaseSchema) -> tuple[str, ...]:
    """Why a release cannot run on this schema, as sentences; empty when it can.

    Expand revisions of newer releases are no objection: they are additive.
    """
    missing = _without(image.expand, database.expand)
    foreign = _without(database.contract, image.contract)
    outstanding = _without(image.required_contract, database.contract)
    sentences = []
    if missing:
        sentences.append(f"{_named('expand', missing)} not applied, and this release needs it.")
    if foreign:
        sentences.append(
            f"{_named('contract', foreign)} applied, and this release does not know it: it may use what was removed."
        )
    if outstanding:
        sentences.append(f"{_named('contract', outstanding)} not applied, and this release requires it.")
    return tuple(sentences)


def _without(revisions: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(revision for revision in revisions if revision not in others)


def _named(history: str, revisions: tuple[str, ...]) -> str:
    if len(revisions) == 1:
        return f"The {history} migration {revisions[0]} is"
    return f"Each of the {history} migrations {', '.join(revisions)} is"
