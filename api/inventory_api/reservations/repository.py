from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    and_,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, with_expression

from inventory_api.reservations.models import Reservation, Status, UnitBooking
from inventory_api.units.models import Unit, UnitState

# So many reservations of an item are ended or served in one transaction; the next look finds the rest.
BATCH = 100

# Written out and not bound: only then does a plan for any value know that a partial index will do.
_BOOKED = Reservation.status == literal_column("'booked'")
_READY = Reservation.status == literal_column("'ready'")
_WAITING = Reservation.status == literal_column("'waiting'")
_CLAIMING = Reservation.status.in_([literal_column("'booked'"), literal_column("'ready'")])

_ahead = aliased(Reservation)
_position = case(
    (
        _WAITING,
        select(func.count())
        .where(
            _ahead.item_id == Reservation.item_id,
            _ahead.status == literal_column("'waiting'"),
            _ahead.id <= Reservation.id,
        )
        .scalar_subquery(),
    )
)
_unit_ids = func.array(
    select(UnitBooking.unit_id)
    .where(UnitBooking.reservation_id == Reservation.id)
    .order_by(UnitBooking.unit_id)
    .scalar_subquery(),
    type_=ARRAY(BigInteger),
)
_shown = (with_expression(Reservation.position, _position), with_expression(Reservation.unit_ids, _unit_ids))

_AT_RISK = text(
    """
    WITH claimed AS (
        SELECT items.id AS item_id, items.quantity AS owned, sums.at, sums.claimed,
            lead(sums.at) OVER (PARTITION BY items.id ORDER BY sums.at) AS until
        FROM items, LATERAL claimed_over_time(items.id, now(), 'infinity') AS sums
        WHERE items.tracking = 'quantity'
            AND items.id IN (SELECT item_id FROM reservations WHERE status = 'booked')
    )
    SELECT reservations.id FROM reservations JOIN claimed USING (item_id)
    WHERE status = 'booked' AND claimed.claimed > claimed.owned
        AND starts_at < coalesce(claimed.until, 'infinity') AND ends_at > claimed.at
    UNION
    SELECT unit_bookings.reservation_id FROM unit_bookings JOIN units ON units.id = unit_bookings.unit_id
    WHERE unit_bookings.reservation_id IS NOT NULL AND units.state <> 'lendable'
    UNION
    SELECT id FROM reservations WHERE status = 'booked' AND set_aside_at <= now() AND starts_at <= now()
    """
).columns(id=BigInteger)

_WITH_SOMETHING_DUE = text(
    """
    SELECT item_id FROM (
        SELECT item_id FROM reservations WHERE status = 'ready' AND expires_at <= now()
        UNION
        SELECT reservations.item_id FROM reservations JOIN items ON items.id = reservations.item_id
        WHERE reservations.status = 'booked' AND reservations.set_aside_at <= now()
            AND (reservations.ends_at <= now() OR items.quantity - items.on_loan - items.reserved > 0)
        UNION
        SELECT items.id FROM items
        JOIN (
            SELECT item_id, min(quantity) AS least FROM reservations WHERE status = 'waiting' GROUP BY item_id
        ) AS line ON line.item_id = items.id
        WHERE items.quantity - items.on_loan - items.reserved >= line.least
    ) AS due
    WHERE item_id > :after ORDER BY item_id LIMIT :limit
    """
)


async def now(session: AsyncSession) -> datetime:
    """When the transaction began, by the database's clock."""
    found = await session.scalar(select(func.now()))
    assert isinstance(found, datetime)  # noqa: S101 - what now() is
    return found


async def get(session: AsyncSession, reservation_id: int) -> Reservation | None:
    """The reservation as it is now, with its place in the line and its units."""
    statement = select(Reservation).where(Reservation.id == reservation_id).options(*_shown)
    return (await session.scalars(statement.execution_options(populate_existing=True))).one_or_none()


async def after(
    session: AsyncSession,
    identifier: int,
    limit: int,
    filters: Mapping[str, Any],
    *,
    since: datetime | None,
    until: datetime | None,
    at_risk: bool,
) -> Sequence[Reservation]:
    """In the order of their ids, with place and units. `filters` has the wanted values of columns.

    With `since` or `until`, those that are for a part of that time; those at risk are what stock that has left, a unit
    out of use or a late return leaves too little for.
    """
    statement = select(Reservation).where(Reservation.id > identifier).order_by(Reservation.id).limit(limit)
    for column, value in filters.items():
        statement = statement.where(getattr(Reservation, column) == value)
    if since is not None:
        statement = statement.where(Reservation.ends_at > since)
    if until is not None:
        statement = statement.where(Reservation.starts_at < until)
    if at_risk:
        statement = statement.where(Reservation.id.in_(select(_AT_RISK.subquery().c.id)))
    return (await session.scalars(statement.options(*_shown).execution_options(populate_existing=True))).all()


async def add(session: AsyncSession, **values: Any) -> Reservation:
    """The new reservation. Raises DBAPIError where too little is free, see `claims.refusing_reserved`."""
    return (await session.scalars(insert(Reservation).values(**values).returning(Reservation))).one()


async def change(session: AsyncSession, reservation_id: int, **values: Any) -> None:
    await session.execute(
        update(Reservation)
        .where(Reservation.id == reservation_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


async def close(session: AsyncSession, reservation_id: int, status: Status) -> None:
    """Ends it; the database frees its units."""
    await change(session, reservation_id, status=status, closed_at=func.now())


async def count_active(session: AsyncSession, user_id: int) -> int:
    """How many reservations a person has that are not over; until the transaction ends, nobody adds one for them."""
    name = f"reservations:{user_id}"
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
    statement = select(func.count()).where(Reservation.user_id == user_id, or_(_CLAIMING, _WAITING))
    return await session.scalar(statement) or 0


async def claimed(
    session: AsyncSession, item_id: int, since: datetime, until: datetime, limit: int
) -> list[tuple[datetime, int]]:
    """How many are claimed from each moment on, until the next one."""
    statement = text("SELECT at, claimed FROM claimed_over_time(:item_id, :since, :until) ORDER BY at LIMIT :limit")
    rows = await session.execute(statement, {"item_id": item_id, "since": since, "until": until, "limit": limit})
    return [(at, count) for at, count in rows]


async def most_claimed(session: AsyncSession, item_id: int, since: datetime, until: datetime) -> int:
    """How many are claimed at the busiest moment of a time."""
    statement = text("SELECT max(claimed) FROM claimed_over_time(:item_id, :since, :until)")
    return await session.scalar(statement, {"item_id": item_id, "since": since, "until": until}) or 0


async def awaited(session: AsyncSession, item_ids: Sequence[int]) -> Sequence[int]:
    """Those of the items that `is_awaited` says yes to, in the order of their ids."""
    items = select(func.unnest(literal(list(item_ids), ARRAY(BigInteger))).label("id")).subquery()
    of_item = Reservation.item_id == items.c.id
    wanted = or_(exists().where(of_item, _WAITING), exists().where(of_item, _CLAIMING, _come()))
    return (await session.scalars(select(items.c.id).where(wanted).order_by(items.c.id).distinct())).all()


async def is_awaited(session: AsyncSession, item_id: int) -> bool:
    """Whether somebody waits for the item, or a reservation's time to be set aside, or its end, has come."""
    of_item = Reservation.item_id == item_id
    come = _come()
    statement = select(or_(exists().where(of_item, _WAITING), exists().where(of_item, _CLAIMING, come)))
    return bool(await session.scalar(statement))


async def items_with_something_due(session: AsyncSession, after: int, limit: int) -> Sequence[int]:
    """Items of which a reservation has to be ended or could be set aside, in the order of their ids."""
    return (await session.scalars(_WITH_SOMETHING_DUE, {"after": after, "limit": limit})).all()


async def over(session: AsyncSession, item_id: int) -> Sequence[Reservation]:
    """Those that nobody has come for in time."""
    past = or_(and_(_READY, Reservation.expires_at <= func.now()), and_(_BOOKED, Reservation.ends_at <= func.now()))
    return await _listed(session, and_(Reservation.item_id == item_id, _CLAIMING, past), Reservation.id)


async def to_set_aside(session: AsyncSession, item_id: int, left: Mapping[int, int]) -> Sequence[Reservation]:
    """Those that are booked, whose time has come and for which enough may be left, by location.

    The one that starts first is at the head.
    """
    come = and_(_BOOKED, Reservation.set_aside_at <= func.now(), Reservation.ends_at > func.now())
    enough = Reservation.quantity <= max(left.values(), default=0)
    return await _listed(
        session,
        and_(Reservation.item_id == item_id, come, _to_pick_up_in(left), enough),
        Reservation.starts_at,
        Reservation.id,
    )


async def line(session: AsyncSession, item_id: int, left: Mapping[int, int], at_most: int) -> Sequence[Reservation]:
    """Those who wait for the item where something is left, in their order.

    Who wants more than `at_most`, which is what is owned, isn't among them: nobody could ever serve them.
    """
    wanted = and_(_WAITING, _to_pick_up_in(left), Reservation.quantity <= at_most)
    return await _listed(session, and_(Reservation.item_id == item_id, wanted), Reservation.id)


def _come() -> Any:
    """The time to be set aside, or the end of what is set aside, has come."""
    return or_(
        and_(_BOOKED, Reservation.set_aside_at <= func.now()), and_(_READY, Reservation.expires_at <= func.now())
    )


def _to_pick_up_in(locations: Mapping[int, int]) -> Any:
    """At one of them; or anywhere, if there is one."""
    anywhere = Reservation.location_id.is_(None) if locations else false()
    return or_(anywhere, Reservation.location_id.in_(list(locations)))


async def _listed(session: AsyncSession, condition: Any, *order: Any) -> Sequence[Reservation]:
    statement = select(Reservation).where(condition).order_by(*order).limit(BATCH).options(*_shown)
    return (await session.scalars(statement.execution_options(populate_existing=True))).all()


async def free_units(
    session: AsyncSession,
    item_id: int,
    since: datetime,
    until: datetime,
    *,
    location_id: int | None = None,
    unit_id: int | None = None,
    limit: int,
) -> Sequence[int]:
    """Units in use that nobody has booked for a part of that time; all of them, or those at a location.

    Those first whose booking before ends last: that leaves the longest gaps whole for others.
    """
    before = (
        select(func.max(func.upper(UnitBooking.during)))
        .where(_of_unit(), func.upper(UnitBooking.during) <= since)
        .scalar_subquery()
    )
    statement = select(Unit.id).where(
        Unit.item_id == item_id, Unit.state == UnitState.LENDABLE, _unbooked(since, until, None)
    )
    if location_id is not None:
        statement = statement.where(Unit.location_id == location_id)
    if unit_id is not None:
        statement = statement.where(Unit.id == unit_id)
    return (await session.scalars(statement.order_by(before.desc().nulls_last(), Unit.id).limit(limit))).all()


async def units_here(
    session: AsyncSession, reservation: Reservation, since: datetime, until: datetime
) -> Sequence[tuple[int, int]]:
    """Location and id of units on the shelf that are free or this reservation's own for that time.

    Of each location as many as it wants, its own at the head.
    """
    own = exists().where(UnitBooking.reservation_id == reservation.id, UnitBooking.unit_id == Unit.id)
    place = func.row_number().over(partition_by=Unit.location_id, order_by=(own.desc(), Unit.id))
    conditions = [Unit.item_id == reservation.item_id, _on_shelf(), _unbooked(since, until, reservation.id)]
    if reservation.unit_id is not None:
        conditions.append(Unit.id == reservation.unit_id)
    here = select(Unit.location_id, Unit.id, place.label("place")).where(*conditions).subquery()
    statement = select(here.c.location_id, here.c.id).where(here.c.place <= reservation.quantity)
    rows = await session.execute(statement.order_by(here.c.location_id, here.c.place))
    return [(location_id, unit_id) for location_id, unit_id in rows]


async def units_to_lend(
    session: AsyncSession, item_id: int, location_id: int | None, until: datetime, limit: int
) -> Sequence[Unit]:
    """Units on the shelf that nobody has booked from now until then, those first that have been there longest."""
    free = _unbooked(func.now(), func.greatest(func.now(), until), None)
    statement = select(Unit).where(Unit.item_id == item_id, _on_shelf(), free)
    if location_id is not None:
        statement = statement.where(Unit.location_id == location_id)
    statement = statement.order_by(Unit.id).limit(limit).execution_options(populate_existing=True)
    return (await session.scalars(statement)).all()


async def count_lendable(session: AsyncSession, item_id: int) -> int:
    statement = select(func.count()).where(Unit.item_id == item_id, Unit.state == UnitState.LENDABLE)
    return await session.scalar(statement) or 0


async def book_units(
    session: AsyncSession, reservation_id: int, unit_ids: Sequence[int], since: datetime, until: datetime
) -> None:
    """Gives the reservation these units and no others. Raises DBAPIError where one is booked for a part of the time."""
    await session.execute(delete(UnitBooking).where(UnitBooking.reservation_id == reservation_id))
    during = Range(since, until, bounds="[)")
    rows = [{"unit_id": unit_id, "reservation_id": reservation_id, "during": during} for unit_id in unit_ids]
    await session.execute(insert(UnitBooking), rows)


def _on_shelf() -> Any:
    return and_(Unit.state == UnitState.LENDABLE, Unit.loan_id.is_(None))


def _unbooked(since: Any, until: Any, but_for: int | None) -> Any:
    """Nobody, or nobody but this reservation, has booked the unit for a part of that time."""
    overlap = [_of_unit(), UnitBooking.during.op("&&")(func.tstzrange(since, until))]
    if but_for is not None:
        overlap.append(UnitBooking.reservation_id.is_distinct_from(but_for))
    return ~exists().where(*overlap)


def _of_unit() -> Any:
    """The booking is of the unit, in the words of the index that holds the constraint."""
    booked = func.int8range(UnitBooking.unit_id, UnitBooking.unit_id, literal_column("'[]'"))
    return booked.op("&&")(func.int8range(Unit.id, Unit.id, literal_column("'[]'")))
