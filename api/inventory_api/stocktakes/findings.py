"""What a count means, beside what was known when it was made and what is known now.

A count is compared with what was on hand at its own moment, and the difference is booked: so it stays right whatever is
lent, returned or moved after it. What can't be told so is never booked. A quantity that moved between its first and its
last scan may hold pieces that were counted twice or not at all; a unit that moved after somebody saw it may be where
either says. Both are to be counted again.
"""

import enum
from dataclasses import dataclass


class Finding(enum.StrEnum):
    MATCHES = "matches"
    MORE = "more"
    FEWER = "fewer"
    MOVED = "moved"
    TOO_MANY = "too-many"
    UNCOUNTED = "uncounted"
    ELSEWHERE = "elsewhere"
    MISSING = "missing"
    LOST_BEFORE = "lost-before"
    RETIRED = "retired"
    ON_LOAN = "on-loan"


TO_BE_CLEARED = frozenset({Finding.MOVED, Finding.TOO_MANY, Finding.ON_LOAN})
"""With one of these, nothing is booked."""


class Whereabouts(enum.StrEnum):
    """Where the records have a unit."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    ON_LOAN = "on-loan"
    LOST = "lost"
    RETIRED = "retired"


@dataclass(frozen=True)
class CountedItem:
    """A quantity that was counted: `expected` was on hand then; `moved` tells that this changed between the scans."""

    expected: int
    counted: int
    moved: bool


@dataclass(frozen=True)
class CountedUnit:
    """A unit that was seen or looked for in vain; `moved` tells that it went elsewhere, out or back since."""

    seen: bool
    moved: bool
    now: Whereabouts


def of_item(count: CountedItem, most: int) -> Finding:
    if count.moved:
        return Finding.MOVED
    if count.counted == count.expected:
        return Finding.MATCHES
    if count.counted > most:
        return Finding.TOO_MANY
    return Finding.MORE if count.counted > count.expected else Finding.FEWER


_SEEN = {
    Whereabouts.HERE: Finding.MATCHES,
    Whereabouts.ELSEWHERE: Finding.ELSEWHERE,
    Whereabouts.ON_LOAN: Finding.ON_LOAN,
    Whereabouts.LOST: Finding.LOST_BEFORE,
    Whereabouts.RETIRED: Finding.RETIRED,
}


def of_unit(count: CountedUnit) -> Finding:
    if not count.seen:
        # Only a unit that is known to be here can be missing here.
        if count.now is not Whereabouts.HERE:
            return Finding.MATCHES
        return Finding.MOVED if count.moved else Finding.MISSING
    if not count.moved:
        return _SEEN[count.now]
    if count.now is Whereabouts.RETIRED:
        return Finding.RETIRED
    # It was here, and went out; or it was brought here meanwhile.
    return Finding.MATCHES if count.now in (Whereabouts.HERE, Whereabouts.ON_LOAN) else Finding.MOVED
