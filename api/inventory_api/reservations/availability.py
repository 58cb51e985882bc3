"""How many of an item are free, step by step through time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby


@dataclass(frozen=True)
class Step:
    since: datetime
    until: datetime
    available: int


@dataclass(frozen=True)
class Availability:
    item_id: int
    since: datetime
    until: datetime
    steps: Sequence[Step]


def steps_of(claimed: Sequence[tuple[datetime, int]], until: datetime, owned: int) -> list[Step]:
    """As few steps as say it all, without a gap from the first moment of `claimed` until the end given.

    `claimed` is how many are claimed from each moment on. Where that is more than is owned, none is free.
    """
    free = [(at, max(0, owned - count)) for at, count in claimed]
    changes = [next(same) for _, same in groupby(free, key=lambda change: change[1])]
    ends = [at for at, _ in changes[1:]] + [until]
    return [Step(at, end, available) for (at, available), end in zip(changes, ends, strict=True)]
