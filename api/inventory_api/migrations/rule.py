"""The compatibility rule: which release can run on which schema, and how revisions are written down for it.

The one implementation, asked by the service, the migration command and the operator. Standard library only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_REVISION = re.compile(r"(c?)(\d{4})", re.ASCII)
_RANGE = re.compile(r"(c?)(\d{4})\.\.\1(\d{4})", re.ASCII)


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


def abbreviated(revisions: Iterable[str]) -> str:
    """Revisions for a report that has little room: those that follow one another as a range, `0001..0260 0262`."""
    ranges: list[tuple[str, str]] = []
    for revision in revisions:
        if ranges and revision == _following(ranges[-1][1]):
            ranges[-1] = (ranges[-1][0], revision)
        else:
            ranges.append((revision, revision))
    return " ".join(first if first == last else f"{first}..{last}" for first, last in ranges)


def spelled_out(revisions: str) -> tuple[str, ...]:
    """The revisions of a report, abbreviated or not. Raises ValueError for a range that is none."""
    return tuple(revision for word in revisions.split() for revision in _in_range(word))


def _in_range(word: str) -> Iterable[str]:
    if ".." not in word:
        return (word,)
    match = _RANGE.fullmatch(word)
    if not match or match[2] >= match[3]:
        raise ValueError(f"{word} is no range of revisions")
    return (f"{match[1]}{number:04}" for number in range(int(match[2]), int(match[3]) + 1))


def _following(revision: str) -> str:
    match = _REVISION.fullmatch(revision)
    return f"{match[1]}{int(match[2]) + 1:04}" if match else ""
