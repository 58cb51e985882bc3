from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.items import repository as items
from inventory_api.items import service as items_service
from inventory_api.items.models import Item, Tracking
from inventory_api.ledger import repository as levels
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind
from inventory_api.ledger.repository import Entry
from inventory_api.locations import repository as locations
from inventory_api.locations import service as locations_service
from inventory_api.places import PlaceQuery
from inventory_api.problems import RETRY_AFTER, Problem, conflict, not_found
from inventory_api.reservations import service as reservations
from inventory_api.stocktakes import findings, repository
from inventory_api.stocktakes.findings import TO_BE_CLEARED, CountedUnit, Finding, Whereabouts
from inventory_api.stocktakes.models import Stocktake, StocktakeScan, StocktakeStatus
from inventory_api.stocktakes.repository import ItemLine, UnitLine
from inventory_api.stocktakes.schemas import (
    Booking,
    CountCreate,
    LineQuery,
    Only,
    ScanCreate,
    StocktakeQuery,
    StocktakeStart,
    Uncounted,
)
from inventory_api.units import repository as units
from inventory_api.units import service as units_service
from inventory_api.units.models import Unit, UnitState
from inventory_api.users.permissions import Permission, Principal, demand

# All of it is one transaction, which takes a second for a few thousand.
MOST_CORRECTIONS = 10_000
_NAMED = 3


async def start(session: AsyncSession, caller: Principal, wanted: StocktakeStart) -> Stocktake:
    demand(caller, Permission.TAKE_STOCK)
    location_id = await locations_service.open_id(session, wanted.location_id)
    stocktake = await repository.start(session, location_id=location_id, note=wanted.note, started_by=caller.id)
    if stocktake is None:
        raise conflict("stocktake-open", "This location is being counted already: book or cancel that stocktake first.")
    await audit.record(session, caller, "start", "stocktake", stocktake.id, None, {"location_id": location_id})
    return stocktake


async def page(session: AsyncSession, caller: Principal, query: StocktakeQuery) -> Sequence[Stocktake]:
    """The newest first."""
    demand(caller, Permission.TAKE_STOCK)
    filters = query.model_dump(include={"location_id", "status"}, exclude_none=True)
    return await repository.before(session, query.after or None, query.limit + 1, filters)


async def get(session: AsyncSession, caller: Principal, stocktake_id: int) -> Stocktake:
    demand(caller, Permission.TAKE_STOCK)
    return _existing(await repository.get(session, stocktake_id))


async def due(session: AsyncSession, caller: Principal, query: PlaceQuery) -> Sequence[Any]:
    """Locations whose count is due by their own policy, the longest first."""
    demand(caller, Permission.TAKE_STOCK)
    return await repository.due(session, query.after_moment, query.limit + 1)


@dataclass(frozen=True)
class Counted:
    """A scan, and how the count of its item or unit stands with it."""

    scan: StocktakeScan
    expected: int
    counted: int
    finding: Finding


async def scan(session: AsyncSession, caller: Principal, stocktake_id: int, wanted: ScanCreate) -> Counted:
    """Adds to what was counted. Of a unit, a second scan changes nothing: it is there."""
    stocktake, item, unit = await _to_be_counted(session, caller, stocktake_id, wanted)
    if unit is not None and wanted.quantity != 1:
        raise _refused("wrong-quantity", f"The unit {unit.serial} is one piece.")
    return await _counted(session, caller, stocktake, item, unit, wanted, is_total=False)


async def count(session: AsyncSession, caller: Principal, stocktake_id: int, wanted: CountCreate) -> Counted:
    """Says how many there are, in place of all that was counted before; of a unit, whether it is there."""
    stocktake, item, unit = await _to_be_counted(session, caller, stocktake_id, wanted)
    if unit is not None and wanted.quantity > 1:
        raise _refused("wrong-quantity", f"The unit {unit.serial} is one piece.")
    return await _counted(session, caller, stocktake, item, unit, wanted, is_total=True)


async def undo(session: AsyncSession, caller: Principal, stocktake_id: int, scan_id: int) -> StocktakeScan:
    """Takes a scan back. One that is taken back already gives the same answer again."""
    demand(caller, Permission.TAKE_STOCK)
    _demand_open(await repository.hold_open(session, stocktake_id))
    scan = await repository.get_scan(session, stocktake_id, scan_id)
    if scan is None:
        raise not_found("scan of this stocktake")
    await repository.undo_scan(session, scan.id, caller.id)
    await session.refresh(scan)
    return scan


async def scans(session: AsyncSession, caller: Principal, stocktake_id: int, query: Any) -> Sequence[StocktakeScan]:
    """The newest first."""
    await get(session, caller, stocktake_id)
    return await repository.scans_before(session, stocktake_id, query.after or None, query.limit + 1)


async def item_lines(session: AsyncSession, caller: Principal, stocktake_id: int, query: LineQuery) -> Sequence[Any]:
    """What is counted by quantity: as it stands while the stocktake is open, later what was booked."""
    stocktake = await get(session, caller, stocktake_id)
    if stocktake.status != StocktakeStatus.OPEN:
        return await repository.booked_item_lines(session, stocktake_id, query.only, query.after, query.limit + 1)
    return await repository.item_lines(session, stocktake, query.only, query.after, query.limit + 1)


async def unit_lines(session: AsyncSession, caller: Principal, stocktake_id: int, query: LineQuery) -> Sequence[Any]:
    """The same of units."""
    stocktake = await get(session, caller, stocktake_id)
    if stocktake.status != StocktakeStatus.OPEN:
        return await repository.booked_unit_lines(session, stocktake_id, query.only, query.after, query.limit + 1)
    return await repository.unit_lines(session, stocktake, query.only, query.after, query.limit + 1)


async def cancel(session: AsyncSession, caller: Principal, stocktake_id: int) -> Stocktake:
    """Ends it with nothing booked. One that is cancelled already gives the same answer again."""
    demand(caller, Permission.TAKE_STOCK)
    stocktake = _existing(await repository.lock(session, stocktake_id))
    if stocktake.status == StocktakeStatus.CANCELLED:
        return stocktake
    _demand_open(stocktake)
    await audit.record(session, caller, "cancel", "stocktake", stocktake.id, None, None)
    return await repository.end(session, stocktake.id, StocktakeStatus.CANCELLED, caller.id, {})


async def book(session: AsyncSession, caller: Principal, stocktake_id: int, wanted: Booking) -> Stocktake:
    """Enters every difference in the ledger, and ends the stocktake. One that is booked gives the same answer again.

    A quantity's difference is the one at its count: what moved later is in the ledger by itself. Units that were seen
    are here, those that were looked for in vain are lost. Raises a 409 Problem, with nothing booked, where a line can't
    be told for certain, or where less would be left than is set aside.
    """
    demand(caller, Permission.TAKE_STOCK)
    stocktake = _existing(await repository.lock(session, stocktake_id))
    if stocktake.status == StocktakeStatus.BOOKED:
        return stocktake
    _demand_open(stocktake)
    await locations_service.open_id(session, stocktake.location_id)
    before = await _found(session, stocktake, wanted.uncounted)
    locked = await items.lock(session, before.item_ids)
    # Under the locks nothing of these moves any more; what moved until now shows here.
    found = await _found(session, stocktake, wanted.uncounted)
    if not found.item_ids <= set(locked):
        raise conflict("moved-meanwhile", "Stock moved in this moment. Send the request again.", RETRY_AFTER)
    for item in locked.values():
        items_service.demand_in_use(item)
    corrections = _corrections(stocktake, caller, found)
    await _demand_unreserved(session, corrections.entries, locked)
    await _carry_out(session, stocktake, corrections)
    left = 0 if wanted.uncounted is Uncounted.REFUSE else await repository.count_uncounted(session, stocktake)
    await locations.counted(session, stocktake.location_id)
    await reservations.pass_on_many(session, sorted(locked))
    figures = {**corrections.figures, "left_uncounted": left}
    await audit.record(session, caller, "book", "stocktake", stocktake.id, None, figures)
    return await repository.end(session, stocktake.id, StocktakeStatus.BOOKED, caller.id, figures)


async def _to_be_counted(
    session: AsyncSession, caller: Principal, stocktake_id: int, wanted: ScanCreate | CountCreate
) -> tuple[Stocktake, Item, Unit | None]:
    demand(caller, Permission.TAKE_STOCK)
    stocktake = _demand_open(await repository.hold_open(session, stocktake_id))
    item_id, unit_id = wanted.item_id, wanted.unit_id
    if wanted.code is not None:
        item_id, unit_id = await _by_code(session, wanted.code)
    unit = await units_service.get(session, unit_id) if unit_id is not None else None
    item = await items_service.get(session, unit.item_id if unit is not None else item_id or 0)
    items_service.demand_in_use(item)
    if item.tracking == Tracking.KIT:
        raise conflict("other-tracking", f"The item {item.sku} is a kit, which is counted by its parts.")
    if item.tracking == Tracking.UNITS and unit is None:
        raise conflict("other-tracking", f"The item {item.sku} is tracked by units: scan each of them.")
    return stocktake, item, unit


async def _by_code(session: AsyncSession, code: str) -> tuple[int, int | None]:
    known = await repository.by_code(session, code)
    if not known:
        raise not_found("barcode, serial number or SKU")
    if len(known) > 1:
        raise conflict("ambiguous-code", "More than one thing has this code: give its item_id or unit_id.")
    return known[0]


async def _counted(
    session: AsyncSession,
    caller: Principal,
    stocktake: Stocktake,
    item: Item,
    unit: Unit | None,
    wanted: ScanCreate | CountCreate,
    *,
    is_total: bool,
) -> Counted:
    values = {
        "item_id": item.id,
        "unit_id": unit.id if unit is not None else None,
        "quantity": wanted.quantity,
        "is_total": is_total,
        "code": wanted.code or "",
        "scanned_by": caller.id,
    }
    if unit is None:
        scan = await repository.add_item_scan(session, stocktake, **values)
        line = await repository.item_line(session, stocktake, item.id)
        return Counted(scan, line.expected, line.counted or 0, line.finding)
    now = _whereabouts(unit, stocktake.location_id)
    scan = await repository.add_unit_scan(session, stocktake, on_hand=int(now is Whereabouts.HERE), **values)
    finding = findings.of_unit(CountedUnit(seen=wanted.quantity == 1, moved=False, now=now))
    return Counted(scan, scan.on_hand, scan.quantity, finding)


def _whereabouts(unit: Unit, location_id: int) -> Whereabouts:
    if unit.loan_id is not None:
        return Whereabouts.ON_LOAN
    if unit.state in (UnitState.LOST, UnitState.RETIRED):
        return Whereabouts(unit.state)
    return Whereabouts.HERE if unit.location_id == location_id else Whereabouts.ELSEWHERE


@dataclass(frozen=True)
class _Found:
    """All that differs, and can be booked."""

    items: Sequence[ItemLine]
    units: Sequence[UnitLine]

    @property
    def item_ids(self) -> set[int]:
        return {line.item_id for line in self.items} | {line.item_id for line in self.units}


async def _found(session: AsyncSession, stocktake: Stocktake, uncounted: Uncounted) -> _Found:
    most = MOST_CORRECTIONS + 1
    item_lines = list(await repository.item_lines(session, stocktake, Only.DIFFERING, 0, most))
    unit_lines = list(await repository.unit_lines(session, stocktake, Only.DIFFERING, 0, most))
    unclear = [f"{line.sku} ({line.finding})" for line in item_lines if line.finding in TO_BE_CLEARED]
    unclear += [f"{line.serial} ({line.finding})" for line in unit_lines if line.finding in TO_BE_CLEARED]
    if unclear:
        raise conflict(
            "count-again",
            f"Nothing was booked, because not all can be told for certain: {_list(unclear)}. Set their counts anew; a "
            "unit that is on loan has to be taken back first.",
        )
    if uncounted is not Uncounted.LEAVE:
        items_left = await repository.item_lines(session, stocktake, Only.UNCOUNTED, 0, most)
        units_left = await repository.unit_lines(session, stocktake, Only.UNCOUNTED, 0, most)
        left = [line.sku for line in items_left] + [line.serial for line in units_left]
        if left and uncounted is Uncounted.REFUSE:
            raise conflict(
                "not-counted",
                f"Nothing was booked, because not all that is expected was counted: {_list(left)}. Count it, or say by "
                "`uncounted` what becomes of it.",
            )
        # What came or went meanwhile was there after the stocktake began: nobody has looked for it in vain.
        item_lines += [line for line in items_left if not line.moved]
        unit_lines += [line for line in units_left if not line.moved]
    if len(item_lines) + len(unit_lines) > MOST_CORRECTIONS:
        raise conflict(
            "too-many-differences",
            f"More than {MOST_CORRECTIONS} things differ, which is more than is booked at once: count it in parts.",
        )
    return _Found(item_lines, unit_lines)


@dataclass
class _Corrections:
    """What is to be done about what was found."""

    entries: list[Entry] = field(default_factory=list)
    brought: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, int]:
        changed = [entry.on_hand for entry in self.entries if entry.kind != EntryKind.MOVE]
        return {
            "pieces_found": sum(max(pieces, 0) for pieces in changed),
            "pieces_missing": sum(max(-pieces, 0) for pieces in changed),
            "units_moved": len(self.brought),
        }


def _corrections(stocktake: Stocktake, caller: Principal, found: _Found) -> _Corrections:
    done = _Corrections()
    entry = partial(Entry, actor_id=caller.id, reason=f"stocktake {stocktake.id}")
    here = stocktake.location_id
    for item in found.items:
        difference = (item.counted or 0) - item.expected
        done.entries.append(entry(item.item_id, here, EntryKind.ADJUST, on_hand=difference))
        finding = item.finding if item.counted is not None else Finding.MISSING
        done.lines.append(_line(stocktake, item, finding))
    for unit in found.units:
        finding = unit.finding if unit.counted is not None else Finding.MISSING
        of_unit = partial(entry, unit.item_id, unit_id=unit.unit_id)
        on_hand, reserved = units_service.COUNTS[UnitState(unit.state)]
        if finding is Finding.ELSEWHERE:
            done.brought.append(unit.unit_id)
            done.entries += [
                of_unit(unit.location_id, EntryKind.MOVE, on_hand=-on_hand, reserved=-reserved),
                of_unit(here, EntryKind.MOVE, on_hand=on_hand, reserved=reserved),
            ]
        elif finding is Finding.MISSING:
            done.lost.append(unit.unit_id)
            done.entries.append(of_unit(here, EntryKind.LOST, on_hand=-on_hand, reserved=-reserved))
        elif finding is Finding.LOST_BEFORE:
            done.restored.append(unit.unit_id)
            done.entries.append(of_unit(here, EntryKind.ADJUST, on_hand=1))
        if finding is not Finding.MATCHES:
            done.lines.append({**_line(stocktake, unit, finding), "unit_id": unit.unit_id})
    return done


def _line(stocktake: Stocktake, line: ItemLine | UnitLine, finding: Finding) -> dict[str, Any]:
    return {
        "stocktake_id": stocktake.id,
        "item_id": line.item_id,
        "unit_id": None,
        "expected": line.expected,
        "counted": line.counted,
        "finding": finding,
    }


async def _carry_out(session: AsyncSession, stocktake: Stocktake, corrections: _Corrections) -> None:
    here = stocktake.location_id
    if corrections.entries:
        await ledger.enter_many(session, corrections.entries)
    for unit_ids, values in (
        (corrections.brought, {"location_id": here}),
        (corrections.lost, {"state": UnitState.LOST}),
        (corrections.restored, {"state": UnitState.LENDABLE, "location_id": here}),
    ):
        if unit_ids:
            await units.change(session, unit_ids, values)
    if corrections.lines:
        await repository.add_lines(session, corrections.lines)


async def _demand_unreserved(session: AsyncSession, entries: Sequence[Entry], known: dict[int, Item]) -> None:
    """Raises a 409 Problem where fewer would be left somewhere than are set aside there."""
    on_hand: dict[tuple[int, int], int] = defaultdict(int)
    reserved: dict[tuple[int, int], int] = defaultdict(int)
    for entry in entries:
        on_hand[entry.item_id, entry.location_id] += entry.on_hand
        reserved[entry.item_id, entry.location_id] += entry.reserved
    for level in await levels.levels_of(session, on_hand):
        place = level.item_id, level.location_id
        left, aside = level.on_hand + on_hand[place], level.reserved + reserved[place]
        if left < aside:
            raise conflict(
                "reserved",
                f"Nothing was booked: of the item {known[level.item_id].sku}, {left} would be left at location "
                f"{level.location_id}, where {aside} are set aside. Cancel what is reserved there, or count again.",
            )


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _existing(stocktake: Stocktake | None) -> Stocktake:
    if stocktake is None:
        raise not_found("stocktake")
    return stocktake


def _demand_open(stocktake: Stocktake | None) -> Stocktake:
    found = _existing(stocktake)
    if found.status != StocktakeStatus.OPEN:
        raise conflict("stocktake-over", f"The stocktake is {found.status}.")
    return found


def _refused(kind: str, detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, kind, detail)
