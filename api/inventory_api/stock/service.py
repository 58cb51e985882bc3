from collections.abc import Mapping, Sequence
from http import HTTPStatus

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.items import service as items
from inventory_api.items.models import Tracking
from inventory_api.ledger import repository
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind, StockEntry, StockLevel
from inventory_api.ledger.repository import Entry
from inventory_api.locations import service as locations
from inventory_api.problems import Problem
from inventory_api.reads import ReadRow
from inventory_api.reservations import service as reservations
from inventory_api.stock.schemas import Adjustment, EntryQuery, LevelQuery, Move, Receipt, WriteOff
from inventory_api.users.permissions import Permission, Principal, demand


async def receive(session: AsyncSession, caller: Principal, wanted: Receipt) -> Sequence[ReadRow]:
    return await _book(
        session, caller, wanted.item_id, EntryKind.RECEIVE, wanted.reason, {wanted.location_id: wanted.quantity}
    )


async def move(session: AsyncSession, caller: Principal, wanted: Move) -> Sequence[ReadRow]:
    if wanted.from_location_id == wanted.to_location_id:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "same-location", "A move needs two different locations.")
    differences: dict[int | None, int] = {
        wanted.from_location_id: -wanted.quantity,
        wanted.to_location_id: wanted.quantity,
    }
    return await _book(session, caller, wanted.item_id, EntryKind.MOVE, wanted.reason, differences)


async def adjust(session: AsyncSession, caller: Principal, wanted: Adjustment) -> Sequence[ReadRow]:
    """Books what is there more or less than was known."""
    return await _book(
        session, caller, wanted.item_id, EntryKind.ADJUST, wanted.reason, {wanted.location_id: wanted.difference}
    )


async def write_off(session: AsyncSession, caller: Principal, wanted: WriteOff) -> Sequence[ReadRow]:
    return await _book(
        session, caller, wanted.item_id, EntryKind.WRITE_OFF, wanted.reason, {wanted.location_id: -wanted.quantity}
    )


async def entries(session: AsyncSession, caller: Principal, query: EntryQuery) -> Sequence[StockEntry]:
    """The newest first. Who lent what is seen by those who may see all loans."""
    demand(caller, Permission.SEE_ALL_LOANS)
    filters = query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    return await repository.entries_before(session, query.after or None, query.limit + 1, filters)


async def levels_of_item(session: AsyncSession, item_id: int) -> Sequence[StockLevel]:
    await items.get(session, item_id)
    return await repository.levels(session, item_id)


async def levels_at(session: AsyncSession, query: LevelQuery) -> Sequence[StockLevel]:
    return await repository.levels_at(session, query.location_id, query.after, query.limit + 1)


async def _book(
    session: AsyncSession,
    caller: Principal,
    item_id: int,
    kind: EntryKind,
    reason: str,
    differences: Mapping[int | None, int],
) -> Sequence[ReadRow]:
    """Changes what is on hand at each of the locations, of which None is the first one."""
    demand(caller, Permission.MOVE_STOCK)
    item = await items.locked(session, item_id, Tracking.QUANTITY)
    places = [(await locations.open_id(session, place), difference) for place, difference in differences.items()]
    booked = await ledger.enter(
        session,
        [
            Entry(item.id, place, kind, on_hand=difference, actor_id=caller.id, reason=reason)
            for place, difference in places
        ],
    )
    await reservations.pass_on(session, item.id)
    return booked
