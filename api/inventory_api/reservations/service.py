from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.cache import outdate
from inventory_api.database import Database, is_passing
from inventory_api.items import repository as items
from inventory_api.items import service as items_service
from inventory_api.items.models import Item, Tracking
from inventory_api.items.repository import LockedItem
from inventory_api.ledger import repository as levels
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind
from inventory_api.ledger.repository import Entry
from inventory_api.locations import service as locations
from inventory_api.problems import Problem, conflict, not_found
from inventory_api.reservations import repository
from inventory_api.reservations.availability import Availability, steps_of
from inventory_api.reservations.claims import refusing_reserved, reserved
from inventory_api.reservations.models import ACTIVE, Reservation, Status
from inventory_api.reservations.schemas import AvailabilityQuery, ReservationQuery, Reserve
from inventory_api.units import service as units
from inventory_api.units.models import Unit, UnitState
from inventory_api.users import repository as users
from inventory_api.users.permissions import Permission, Principal, demand, may

log = structlog.get_logger()

_KIND = "reservation"
_USUAL_VIEW = timedelta(days=30)
_LONGEST_VIEW = timedelta(days=366)
_MOST_STEPS = 500
_ITEMS_AT_ONCE = 100


@dataclass(frozen=True)
class Policy:
    """For when, for how long and how much may be reserved, and how long before and after it is kept on the shelf."""

    ahead: timedelta
    longest: timedelta
    lead: timedelta
    hold: timedelta
    per_person: int


@dataclass(frozen=True)
class Taken:
    """What a reservation hands over to the loan that it becomes, and the status that it had until then."""

    reservation_id: int
    item_id: int
    user_id: int
    quantity: int
    location_id: int | None
    unit_ids: Sequence[int]
    ends_at: datetime
    status: str


async def reserve(session: AsyncSession, caller: Principal, wanted: Reserve, policy: Policy) -> Reservation:
    """Books for the dates given. Without dates it is set aside at once where it is there and nobody waits before; else
    it waits in line.

    Raises a 409 Problem where too little is free at some moment of that time; nothing is reserved then.
    """
    user_id = await _for_whom(session, caller, wanted.user_id)
    await _demand_few(session, user_id, policy)
    item = await _item(session, wanted)
    location_id = await locations.open_id(session, wanted.location_id) if wanted.location_id else None
    values = {
        "item_id": item.id,
        "unit_id": wanted.unit_id,
        "location_id": location_id,
        "user_id": user_id,
        "quantity": wanted.quantity,
        "hold_seconds": int(policy.hold.total_seconds()),
        "created_by": caller.id,
    }
    if wanted.starts_at is None or wanted.ends_at is None:
        if wanted.quantity > item.quantity:
            raise conflict(
                "out-of-stock", f"Of the item {item.sku}, {item.quantity} are owned: more can't be waited for."
            )
        reservation = await repository.add(session, status=Status.WAITING, **values)
    else:
        _demand_time(wanted.starts_at, wanted.ends_at, policy)
        reservation = await _book(session, item, wanted.starts_at, wanted.ends_at, policy.lead, values)
    outdate(session, "catalogue")
    made = wanted.model_dump() | {"item_id": item.id, "user_id": user_id, "status": reservation.status}
    await audit.record(session, caller, "create", _KIND, reservation.id, None, made)
    await pass_on(session, item.id)
    return await _fresh(session, reservation.id)


async def cancel(session: AsyncSession, caller: Principal, reservation_id: int) -> Reservation:
    """Gives up a reservation, and passes on what it held. One that is cancelled gives the same answer again."""
    reservation = await _locked(session, caller, reservation_id)
    demand(caller, Permission.BORROW if reservation.user_id == caller.id else Permission.RESERVE_FOR_OTHERS)
    if reservation.status == Status.CANCELLED:
        return reservation
    if reservation.status not in ACTIVE:
        raise _over(reservation)
    await _end(session, reservation, Status.CANCELLED, caller.id)
    await _record(session, caller, "cancel", reservation, status=Status.CANCELLED)
    await pass_on(session, reservation.item_id)
    return await _fresh(session, reservation.id)


async def take(session: AsyncSession, caller: Principal, reservation_id: int) -> Taken:
    """Ends a reservation whose time has come and frees what it held, for the loan that it becomes.

    The caller lends in the same transaction, and tells `fulfil` which loan that is. Raises a 409 Problem where it is
    not this reservation's turn, or no more.
    """
    reservation = await _locked(session, caller, reservation_id)
    demand(caller, Permission.BORROW if reservation.user_id == caller.id else Permission.LEND_TO_OTHERS)
    now = await repository.now(session)
    if reservation.status == Status.WAITING:
        raise conflict("not-ready", f"The reservation waits in line, at place {reservation.position}.")
    ends_at = reservation.ends_at or now
    if reservation.status not in ACTIVE or (reservation.expires_at or ends_at) <= now:
        raise _over(reservation)
    if reservation.status == Status.BOOKED and (reservation.set_aside_at or now) > now:
        raise conflict("not-ready", f"The reservation starts at {_shown(reservation.starts_at or now)}.")
    unit_ids: Sequence[int] = reservation.unit_ids
    if unit_ids:
        here = _by_location(await repository.units_here(session, reservation, now, ends_at))
        place = _place(reservation, {location_id: len(ids) for location_id, ids in here.items()})
        unit_ids = here[place] if place is not None else unit_ids
    await _end(session, reservation, Status.FULFILLED, caller.id)
    return Taken(
        reservation.id,
        reservation.item_id,
        reservation.user_id,
        reservation.quantity,
        reservation.location_id,
        unit_ids,
        ends_at,
        reservation.status,
    )


async def fulfil(session: AsyncSession, caller: Principal, taken: Taken, loan_id: int) -> None:
    """Notes which loan it became."""
    await repository.change(session, taken.reservation_id, loan_id=loan_id)
    before, after = {"status": taken.status}, {"status": Status.FULFILLED, "loan_id": loan_id}
    await audit.record(session, caller, "lend", _KIND, taken.reservation_id, before, after)


async def units_to_lend(
    session: AsyncSession, item_id: int, location_id: int | None, until: datetime, limit: int
) -> Sequence[Unit]:
    """Units on the shelf, or on that of a location, that nobody has reserved from now until then."""
    return await repository.units_to_lend(session, item_id, location_id, until, limit)


async def pass_on(session: AsyncSession, item_id: int) -> None:
    """Ends the reservations that nobody has come for, and sets aside what is there for those whose turn it is.

    First for those who have booked it for now, as far as there is enough for them in one place. Then for those who
    wait, strictly in line: where it is too little for one, nobody behind them gets it, though anybody may still borrow
    it; only what is at a place where they don't want it goes to the next.

    Whoever brings or frees stock calls this in their transaction, holding the item's lock.
    """
    if not await repository.is_awaited(session, item_id):
        return
    item = (await items.lock(session, [item_id]))[item_id]
    over = await repository.over(session, item_id)
    for reservation in over:
        await _end(session, reservation, Status.EXPIRED, None)
        await _record(session, None, "expire", reservation, status=Status.EXPIRED)
    if len(over) == repository.BATCH:
        return  # What the others hold isn't free yet; the next look ends them.
    now = await repository.now(session)
    left = await levels.available(session, item_id)
    for reservation in await repository.to_set_aside(session, item_id, left):
        place = _place(reservation, await _places(session, item, reservation, now))
        if place is not None:
            await _set_aside(session, item, reservation, place, now)
    await _serve_line(session, item, now)


async def pass_on_many(session: AsyncSession, item_ids: Sequence[int]) -> None:
    """`pass_on` for a great many items, of which the caller holds the locks: few are awaited."""
    for item_id in await repository.awaited(session, item_ids):
        await pass_on(session, item_id)


async def pass_on_all(database: Database) -> None:
    """`pass_on` for all items with something due, each in its own transaction: one that fails keeps none waiting."""
    after: int | None = 0
    while after is not None:
        async with database.transaction() as session:
            found = await repository.items_with_something_due(session, after, _ITEMS_AT_ONCE)
        for item_id in found:
            try:
                async with database.transaction() as session:
                    await pass_on(session, item_id)
            except Exception as error:
                log.warning(
                    "an item waits for the next look at what is reserved",
                    item=item_id,
                    error=type(error).__name__,
                    exc_info=not is_passing(error),
                )
        after = found[-1] if len(found) == _ITEMS_AT_ONCE else None


async def page(session: AsyncSession, caller: Principal, query: ReservationQuery) -> Sequence[Reservation]:
    filters = query.model_dump(include={"item_id", "user_id", "status"}, exclude_none=True)
    if not may(caller, Permission.SEE_ALL_RESERVATIONS):
        if query.user_id not in (None, caller.id):
            demand(caller, Permission.SEE_ALL_RESERVATIONS)
        filters["user_id"] = caller.id
    return await repository.after(
        session, query.after, query.limit + 1, filters, since=query.since, until=query.until, at_risk=query.at_risk
    )


async def get(session: AsyncSession, caller: Principal, reservation_id: int) -> Reservation:
    reservation = await repository.get(session, reservation_id)
    # As with loans: what isn't the caller's business looks like nothing.
    if reservation is None or (reservation.user_id != caller.id and not may(caller, Permission.SEE_ALL_RESERVATIONS)):
        raise not_found("reservation")
    return reservation


async def availability(session: AsyncSession, item_id: int, query: AvailabilityQuery) -> Availability:
    """From now on at the earliest, as reserved and lent until now.

    What is overdue is taken to come back at any moment, and units out of use not to come back into it.
    """
    item = await items_service.get(session, item_id)
    _demand_pieces(item)
    now = await repository.now(session)
    since = max(now, query.since or now)
    until = query.until or since + _USUAL_VIEW
    if not since < until <= since + _LONGEST_VIEW:
        raise _refused("wrong-time", f"The time must end in the future, and after {_LONGEST_VIEW.days} days at most.")
    owned = item.quantity if item.tracking != Tracking.UNITS else await repository.count_lendable(session, item_id)
    claimed = await repository.claimed(session, item_id, since, until, _MOST_STEPS + 1)
    if len(claimed) > _MOST_STEPS:
        until = claimed.pop()[0]
    return Availability(item_id, since, until, steps_of(claimed, until, owned))


async def _book(
    session: AsyncSession,
    item: LockedItem,
    starts_at: datetime,
    ends_at: datetime,
    lead: timedelta,
    values: Mapping[str, object],
) -> Reservation:
    with refusing_reserved():
        reservation = await repository.add(
            session,
            status=Status.BOOKED,
            starts_at=starts_at,
            ends_at=ends_at,
            set_aside_at=starts_at - lead,
            **values,
        )
    if item.tracking == Tracking.UNITS:
        free = await repository.free_units(
            session,
            item.id,
            starts_at,
            ends_at,
            location_id=reservation.location_id,
            unit_id=reservation.unit_id,
            limit=reservation.quantity,
        )
        if len(free) < reservation.quantity:
            raise reserved(_too_few(item, len(free), reservation.quantity, starts_at, ends_at))
        with refusing_reserved():
            await repository.book_units(session, reservation.id, free, starts_at, ends_at)
    return reservation


async def _serve_line(session: AsyncSession, item: Item, now: datetime) -> None:
    left = await levels.available(session, item.id)
    kept: set[int] = set()
    for reservation in await repository.line(session, item.id, left, item.quantity):
        wants_any = reservation.location_id is None
        places = await _places(session, item, reservation, now)
        place = _place(reservation, {where: count for where, count in places.items() if where not in kept})
        if place is not None:
            await _set_aside(session, item, reservation, place, now)
        elif wants_any:
            return
        else:
            kept.add(reservation.location_id or 0)


async def _places(session: AsyncSession, item: Item, reservation: Reservation, now: datetime) -> dict[int, int]:
    """How many could be set aside for the reservation now, by location."""
    until = reservation.ends_at or now + timedelta(seconds=reservation.hold_seconds)
    if item.tracking == Tracking.UNITS:
        found = _by_location(await repository.units_here(session, reservation, now, until))
        return {location_id: len(unit_ids) for location_id, unit_ids in found.items()}
    # From its start on, what is booked is its own; before that, and for who waits, only what nobody else has claimed.
    until = reservation.starts_at or until
    free = item.quantity
    if until > now:
        free -= await repository.most_claimed(session, item.id, now, until)
    if free < reservation.quantity:
        return {}
    return await levels.available(session, item.id)


def _place(reservation: Reservation, places: Mapping[int, int]) -> int | None:
    """The location that has most, of those where the reservation may be picked up and that have enough for it."""
    enough = [
        (count, -location_id)
        for location_id, count in places.items()
        if reservation.location_id in (None, location_id) and count >= reservation.quantity
    ]
    return -max(enough)[1] if enough else None


async def _set_aside(
    session: AsyncSession, item: Item, reservation: Reservation, location_id: int, now: datetime
) -> None:
    hold = timedelta(seconds=reservation.hold_seconds)
    starts_at = reservation.starts_at or now
    expires_at = max(starts_at, now) + hold
    ends_at = reservation.ends_at or expires_at
    unit_ids: Sequence[int] = ()
    if item.tracking == Tracking.UNITS:
        here = _by_location(await repository.units_here(session, reservation, now, ends_at))
        unit_ids = here[location_id]
        await repository.book_units(session, reservation.id, unit_ids, now, ends_at)
    values = {
        "status": Status.READY,
        "location_id": location_id,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "expires_at": min(expires_at, ends_at),
    }
    await repository.change(session, reservation.id, **values)
    await _record(session, None, "set-aside", reservation, **values)
    await ledger.enter(session, _entries(reservation, EntryKind.HOLD, location_id, unit_ids, None))


async def _record(
    session: AsyncSession, caller: Principal | None, action: str, reservation: Reservation, **values: object
) -> None:
    """Keeps for the audit what the values change of the reservation, as it was read before."""
    before = {name: getattr(reservation, name) for name in values}
    await audit.record(session, caller, action, _KIND, reservation.id, before, values)


async def _end(session: AsyncSession, reservation: Reservation, status: Status, actor_id: int | None) -> None:
    """The database frees its units with it."""
    if reservation.status == Status.READY and reservation.location_id is not None:
        entries = _entries(reservation, EntryKind.RELEASE, reservation.location_id, reservation.unit_ids, actor_id)
        await ledger.enter(session, entries)
    await repository.close(session, reservation.id, status)
    outdate(session, "catalogue")


def _entries(
    reservation: Reservation, kind: EntryKind, location_id: int, unit_ids: Sequence[int], actor_id: int | None
) -> list[Entry]:
    sign = 1 if kind == EntryKind.HOLD else -1
    pieces: Sequence[tuple[int | None, int]] = [(unit_id, 1) for unit_id in unit_ids] or [(None, reservation.quantity)]
    return [
        Entry(
            reservation.item_id,
            location_id,
            kind,
            reserved=sign * count,
            unit_id=unit_id,
            actor_id=actor_id,
            reason=f"reservation {reservation.id}",
        )
        for unit_id, count in pieces
    ]


def _by_location(units_here: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for location_id, unit_id in units_here:
        found.setdefault(location_id, []).append(unit_id)
    return found


async def _item(session: AsyncSession, wanted: Reserve) -> LockedItem:
    """The item, under its lock. Raises a 409 Problem where it or the unit can't be reserved."""
    if wanted.unit_id is None:
        item = await items_service.locked(session, wanted.item_id or 0)
    else:
        unit = await units.get(session, wanted.unit_id)
        item = await items_service.locked(session, unit.item_id)
        await session.refresh(unit)
        if unit.state != UnitState.LENDABLE:
            raise conflict("not-lendable", f"The unit {unit.serial} is {unit.state}.")
    _demand_pieces(item)
    return item


def _demand_pieces(item: Item | LockedItem) -> None:
    if item.tracking == Tracking.KIT:
        raise conflict("kit", f"The item {item.sku} is a kit: only its parts are reserved.")


async def _locked(session: AsyncSession, caller: Principal, reservation_id: int) -> Reservation:
    """The reservation as it is under its item's lock, without which none is changed."""
    reservation = await get(session, caller, reservation_id)
    await items.lock(session, [reservation.item_id])
    return await _fresh(session, reservation_id)


async def _fresh(session: AsyncSession, reservation_id: int) -> Reservation:
    reservation = await repository.get(session, reservation_id)
    assert reservation is not None  # noqa: S101 - no reservation is ever removed
    return reservation


async def _for_whom(session: AsyncSession, caller: Principal, user_id: int | None) -> int:
    if user_id is None or user_id == caller.id:
        demand(caller, Permission.BORROW)
        return caller.id
    demand(caller, Permission.RESERVE_FOR_OTHERS)
    user = await users.get(session, user_id)
    if user is None or not user.active:
        raise not_found("user")
    return user.id


async def _demand_few(session: AsyncSession, user_id: int, policy: Policy) -> None:
    if await repository.count_active(session, user_id) >= policy.per_person:
        raise conflict("too-many-reservations", f"A person may have {policy.per_person} reservations at a time.")


def _demand_time(starts_at: datetime, ends_at: datetime, policy: Policy) -> None:
    now = datetime.now(UTC)
    if starts_at <= now:
        raise _refused("starts-in-the-past", "A reservation starts in the future; what is wanted now is lent.")
    if starts_at > now + policy.ahead:
        raise _refused("starts-too-late", f"A reservation may start in {policy.ahead.days} days at the latest.")
    if ends_at - starts_at > policy.longest:
        raise _refused("too-long", f"A reservation may be for {policy.longest.days} days at most.")


def _over(reservation: Reservation) -> Problem:
    status = reservation.status if reservation.status not in ACTIVE else Status.EXPIRED
    return conflict("reservation-over", f"The reservation is {status}.")


def _too_few(item: LockedItem, free: int, wanted: int, starts_at: datetime, ends_at: datetime) -> str:
    when = f"from {_shown(starts_at)} until {_shown(ends_at)}"
    return f"Of the item {item.sku}, {free} units are free {when}, which is fewer than {wanted}."


def _shown(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _refused(kind: str, detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, kind, detail)
