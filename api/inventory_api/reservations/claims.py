"""What the database refuses because it is reserved or lent for that time, in the API's words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from asyncpg.exceptions import PostgresError
from sqlalchemy.exc import DBAPIError

from inventory_api.problems import Problem, conflict

_TOO_MANY_CLAIMS = "RV001"
_OVERLAP = "23P01"


@contextmanager
def refusing_reserved() -> Iterator[None]:
    """For the statements that reserve, lend or renew.

    Raises a 409 Problem where more would be claimed at some time than is owned, or a unit by two at once; it names the
    time. The transaction can then only be undone.
    """
    try:
        yield
    except (DBAPIError, PostgresError) as error:
        problem = _problem(error.driver_exception if isinstance(error, DBAPIError) else error)
        if problem is None:
            raise
        raise problem from error


def reserved(detail: str) -> Problem:
    return conflict("reserved", detail)


def _problem(error: BaseException | None) -> Problem | None:
    code = getattr(error, "sqlstate", None)
    told = getattr(error, "detail", None) or ""
    if code == _TOO_MANY_CLAIMS:
        return reserved(f"Fewer than that are free at {_shown(told)}: the rest is reserved or on loan then.")
    if code == _OVERLAP:
        # It tells of the new and of the old row, each with the two ends of its time.
        times = re.findall(r'"([^"]+)"', told)
        when = f" from {_shown(times[-2])} until {_shown(times[-1])}" if len(times) > 1 else " for a part of that time"
        return reserved(f"The unit is reserved or on loan{when}.")
    return None


def _shown(time: str) -> str:
    return datetime.fromisoformat(time).astimezone(UTC).isoformat().replace("+00:00", "Z")
