from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from asyncpg.exceptions import CheckViolationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.cache import outdate
from inventory_api.ledger import repository
from inventory_api.ledger.repository import Entry
from inventory_api.problems import conflict
from inventory_api.reads import ReadRow


async def enter(session: AsyncSession, entries: Sequence[Entry]) -> Sequence[ReadRow]:
    """Adds the entries, whose columns it returns; the database changes the levels with them.

    Whoever enters more than one holds the items' locks first (`items.repository.lock`), in the order of their ids:
    else two who enter the same in different orders would wait for each other.

    Raises a 409 Problem where less is there than an entry takes. The transaction can then only be undone.
    """
    outdate(session, "catalogue")
    with _refusing():
        return await repository.enter(session, entries)


async def enter_many(session: AsyncSession, entries: Sequence[Entry]) -> None:
    """The same for a great many, none of which is wanted back."""
    outdate(session, "catalogue")
    with _refusing():
        await repository.enter_many(session, entries)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (CheckViolationError, IntegrityError) as error:
        if isinstance(error, IntegrityError) and getattr(error.orig, "sqlstate", None) != CheckViolationError.sqlstate:
            raise
        raise conflict("out-of-stock", "Fewer than that are available.") from error
