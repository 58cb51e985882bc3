from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from http import HTTPStatus

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.labels import repository
from inventory_api.labels.drawing import Label
from inventory_api.labels.repository import Named
from inventory_api.labels.schemas import MAX_LABELS, SheetQuery
from inventory_api.problems import Problem, not_found
from inventory_api.references import Kind, reference

_FIND: Mapping[Kind, Callable[[AsyncSession, Collection[int]], Awaitable[dict[int, Named]]]] = {
    "item": repository.items,
    "unit": repository.units,
    "location": repository.locations,
}


async def label(session: AsyncSession, kind: Kind, identifier: int) -> Label:
    (only,) = await labels(session, kind, [identifier])
    return only


async def labels(session: AsyncSession, kind: Kind, ids: Sequence[int]) -> list[Label]:
    """In the order of the ids. Raises a 404 Problem where there is none with one of them."""
    found = await _FIND[kind](session, ids) if ids else {}
    for identifier in ids:
        if identifier not in found:
            raise not_found(f"{kind}: {identifier}")
    return [_label(kind, identifier, found[identifier]) for identifier in ids]


async def of_sheet(session: AsyncSession, wanted: SheetQuery) -> list[Label]:
    count = len(wanted.item_ids) + len(wanted.unit_ids) + len(wanted.location_ids)
    if not 0 < count <= MAX_LABELS:
        detail = f"A sheet has from 1 to {MAX_LABELS} labels, not {count}."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "wrong-number-of-labels", detail)
    return [
        *await labels(session, "item", wanted.item_ids),
        *await labels(session, "unit", wanted.unit_ids),
        *await labels(session, "location", wanted.location_ids),
    ]


def _label(kind: Kind, identifier: int, named: Named) -> Label:
    return Label(named.barcode or reference(kind, identifier), named.name, named.details)
