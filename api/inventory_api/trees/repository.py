"""Queries of trees: tables whose rows name the row above them as `parent_id`."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Row, bindparam, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.reads import Reads, Statement

# Of a row without one, in the indexes of names.
NO_PARENT = 0


async def hold(session: AsyncSession, node: Any) -> None:
    """Lets nobody else place anything in this tree until the transaction ends. It comes before any lock of a row."""
    name = f"tree:{node.__tablename__}"
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


async def lock(session: AsyncSession, node: Any, identifier: int) -> Any:
    """The row as it is now, which nobody else changes until the transaction ends; None if there is none."""
    return await session.get(node, identifier, with_for_update={"key_share": True}, populate_existing=True)


async def lock_alone(session: AsyncSession, node: Any, identifier: int) -> Any:
    """The same, and nobody puts anything into it either: whoever is about to comes first, whoever is not waits."""
    return await session.get(node, identifier, with_for_update=True, populate_existing=True)


async def keep(session: AsyncSession, node: Any, identifier: int) -> Any:
    """The row as it is now, which nobody removes or archives until the transaction ends; None if there is none."""
    how = {"read": True, "key_share": True}
    return await session.get(node, identifier, with_for_update=how, populate_existing=True)


async def branch(reads: Reads, node: Any, identifier: int) -> Sequence[int]:
    """The ids of the row and all below it; none if there is no such row."""
    return [row["id"] for row in await reads.rows(_branch(node), identifier=identifier)]


@cache
def _branch(node: Any) -> Statement:
    below = select(node.id).where(node.id == bindparam("identifier")).cte("below", recursive=True)
    below = below.union(select(node.id).join(below, func.coalesce(node.parent_id, NO_PARENT) == below.c.id))
    return Statement(select(below.c.id))


async def height(session: AsyncSession, node: Any, identifier: int) -> int:
    """How many rows the longest way down has, with the row itself."""
    below = select(node.id, literal(1).label("height")).where(node.id == identifier).cte("below", recursive=True)
    below = below.union_all(
        select(node.id, below.c.height + 1).join(below, func.coalesce(node.parent_id, NO_PARENT) == below.c.id)
    )
    return await session.scalar(select(func.max(below.c.height))) or 0


async def path(session: AsyncSession, node: Any, identifier: int) -> Sequence[Row[int, str]]:
    """Id and name of each row from the root down to this one."""
    above = (
        select(node.id, node.parent_id, node.name, literal(1).label("height"))
        .where(node.id == identifier)
        .cte("above", recursive=True)
    )
    above = above.union_all(
        select(node.id, node.parent_id, node.name, above.c.height + 1).join(above, node.id == above.c.parent_id)
    )
    return (await session.execute(select(above.c.id, above.c.name).order_by(above.c.height.desc()))).all()
