from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.problems import Problem, conflict, not_found
from inventory_api.trees import repository

# What walks up or down a tree takes as many steps.
MAX_DEPTH = 20


async def place_below(session: AsyncSession, node: Any, what: str, parent_id: int | None, moved_id: int | None) -> Any:
    """The row that a new one, or the one that is moved, is put below; None for a root.

    Whoever calls this holds the tree: of two moves that would make a circle together, the second one sees the first.
    Raises a 404 Problem where there is no such parent, and a 409 Problem where it is below what is moved or the tree
    would become too deep.
    """
    if parent_id is None:
        return None
    parent = await repository.keep(session, node, parent_id)
    if parent is None:
        raise not_found(f"parent {what}")
    above = [each.id for each in await repository.path(session, node, parent_id)]
    if moved_id in above:
        raise conflict("circle", f"A {what} can't be moved below itself.")
    height = 1 if moved_id is None else await repository.height(session, node, moved_id)
    if len(above) + height > MAX_DEPTH:
        raise conflict("too-deep", f"A tree may be {MAX_DEPTH} deep.")
    return parent


def still_used(what: str, table: str) -> Problem:
    return conflict("still-used", f"The {what} can't be deleted: there are {table.replace('_', ' ')} that name it.")
