from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.cache import outdate
from inventory_api.concurrency import demand_version
from inventory_api.items import service as items
from inventory_api.items.models import Tracking
from inventory_api.items.repository import LockedItem
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind
from inventory_api.ledger.repository import Entry
from inventory_api.locations import service as locations
from inventory_api.problems import conflict, not_found
from inventory_api.units import repository
from inventory_api.units.models import Unit, UnitState
from inventory_api.units.schemas import UnitChange, UnitCreate, UnitMove, UnitQuery, UnitStateChange
from inventory_api.users.permissions import Permission, Principal, demand

# How the ledger counts a unit in each state: owned on the shelf, and of that set aside. One in repair is owned, but can
# no more be lent than one that is held for somebody.
COUNTS = {
    UnitState.LENDABLE: (1, 0),
    UnitState.IN_REPAIR: (1, 1),
    UnitState.RETIRED: (0, 0),
    UnitState.LOST: (0, 0),
}


async def create(session: AsyncSession, caller: Principal, item_id: int, wanted: UnitCreate) -> Unit:
    """A new unit on the shelf."""
    demand(caller, Permission.MOVE_STOCK)
    item = await items.locked(session, item_id, Tracking.UNITS)
    location_id = await locations.open_id(session, wanted.location_id)
    unit = await repository.add(
        session,
        item_id=item.id,
        serial=wanted.serial,
        barcode=wanted.barcode,
        condition=wanted.condition,
        location_id=location_id,
    )
    if unit is None:
        raise _taken()
    await ledger.enter(
        session, [Entry(item.id, location_id, EntryKind.RECEIVE, on_hand=1, unit_id=unit.id, actor_id=caller.id)]
    )
    await audit.record(session, caller, "create", "unit", unit.id, None, {"item_id": item.id, **wanted.model_dump()})
    return unit


async def page(session: AsyncSession, query: UnitQuery) -> Sequence[Unit]:
    filters = query.model_dump(include={"item_id", "location_id", "state"}, exclude_none=True)
    return await repository.page(session, query.after, query.limit + 1, filters, query.on_loan)


async def get(session: AsyncSession, unit_id: int) -> Unit:
    unit = await repository.get(session, unit_id)
    if unit is None:
        raise not_found("unit")
    return unit


async def change(
    session: AsyncSession, caller: Principal, unit_id: int, wanted: UnitChange, if_match: str | None
) -> Unit:
    """Changes what is given. Raises a 409 Problem where the serial number or the barcode is taken."""
    demand(caller, Permission.MAINTAIN_UNITS)
    _, unit = await _locked(session, unit_id)
    demand_version(if_match, unit.version)
    return await _changed(session, caller, unit, **wanted.model_dump(exclude_unset=True))


async def move(session: AsyncSession, caller: Principal, unit_id: int, wanted: UnitMove) -> Unit:
    """Puts a unit that is on the shelf to another location; where it is there already, nothing changes."""
    demand(caller, Permission.MOVE_STOCK)
    item, unit = await _locked(session, unit_id)
    _demand_here(unit)
    if unit.location_id == wanted.location_id:
        return unit
    to = await locations.open_id(session, wanted.location_id)
    on_hand, reserved = COUNTS[UnitState(unit.state)]
    entry = partial(Entry, item.id, kind=EntryKind.MOVE, unit_id=unit.id, actor_id=caller.id, reason=wanted.reason)
    if on_hand:
        await ledger.enter(
            session,
            [
                entry(location_id=unit.location_id, on_hand=-on_hand, reserved=-reserved),
                entry(location_id=to, on_hand=on_hand, reserved=reserved),
            ],
        )
    return await _changed(session, caller, unit, location_id=to)


async def set_state(session: AsyncSession, caller: Principal, unit_id: int, wanted: UnitStateChange) -> Unit:
    """Takes a unit out of use or back into it; a state that it has already changes nothing."""
    demand(caller, Permission.MAINTAIN_UNITS)
    item, unit = await _locked(session, unit_id)
    _demand_here(unit)
    if unit.state == wanted.state:
        return unit
    was, becomes = COUNTS[UnitState(unit.state)], COUNTS[wanted.state]
    owned, reserved = becomes[0] - was[0], becomes[1] - was[1]
    if owned > 0:
        await locations.open_id(session, unit.location_id)
    entry = Entry(
        item.id,
        unit.location_id,
        _kind(owned, reserved),
        on_hand=owned,
        reserved=reserved,
        unit_id=unit.id,
        actor_id=caller.id,
        reason=wanted.reason,
    )
    if owned or reserved:
        await ledger.enter(session, [entry])
    return await _changed(session, caller, unit, state=wanted.state)


def _kind(owned: int, reserved: int) -> EntryKind:
    if owned:
        return EntryKind.RECEIVE if owned > 0 else EntryKind.WRITE_OFF
    return EntryKind.HOLD if reserved > 0 else EntryKind.RELEASE


async def _locked(session: AsyncSession, unit_id: int) -> tuple[LockedItem, Unit]:
    """The unit as it is under its item's lock."""
    unit = await get(session, unit_id)
    item = await items.locked(session, unit.item_id)
    await session.refresh(unit)
    return item, unit


def _demand_here(unit: Unit) -> None:
    if unit.loan_id is not None:
        raise conflict("on-loan", f"The unit {unit.serial} is on loan.")


async def _changed(session: AsyncSession, caller: Principal, unit: Unit, **values: Any) -> Unit:
    before = {name: getattr(unit, name) for name in values}
    if before == values:
        return unit
    try:
        (changed,) = await repository.change(session, [unit.id], values)
    except IntegrityError as error:
        raise _taken() from error
    outdate(session, "catalogue")
    await audit.record(session, caller, "change", "unit", unit.id, before, values)
    return changed


def _taken() -> Exception:
    return conflict("serial-taken", "There is a unit with this serial number or barcode already.")
