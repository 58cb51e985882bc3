from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.cache import outdate
from inventory_api.items import repository as items
from inventory_api.items import service as items_service
from inventory_api.items.models import Item, Tracking
from inventory_api.items.repository import LockedItem
from inventory_api.ledger import repository as levels
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind
from inventory_api.ledger.repository import Entry
from inventory_api.loans import repository
from inventory_api.loans.models import Loan
from inventory_api.loans.schemas import CheckOut, LoanQuery, Loss, Renewal, Return
from inventory_api.locations import repository as locations
from inventory_api.locations import service as locations_service
from inventory_api.problems import Problem, conflict, not_found
from inventory_api.reservations import service as reservations
from inventory_api.reservations.claims import refusing_reserved
from inventory_api.units import repository as units
from inventory_api.units.models import Unit, UnitState
from inventory_api.users import repository as users
from inventory_api.users.permissions import Permission, Principal, demand, may


@dataclass(frozen=True)
class Policy:
    """For how long something may be lent, and how often a borrower may put off the return."""

    longest: timedelta | None
    renewals: int


@dataclass(frozen=True)
class _Terms:
    """What holds for a loan as a whole, and so for each part of a kit."""

    borrower_id: int
    lender_id: int
    due_at: datetime
    note: str
    kit_loan_id: int | None = None


async def check_out(session: AsyncSession, caller: Principal, wanted: CheckOut, policy: Policy) -> Loan:
    """Lends a quantity, units, a kit with all its parts, or what is reserved.

    Raises a 409 Problem where less is available than is wanted, or reserved by others before it is due; nothing is lent
    then.
    """
    if wanted.reservation_id is not None:
        return await _lend_reserved(session, caller, wanted.reservation_id, wanted, policy)
    assert wanted.item_id is not None and wanted.quantity is not None  # noqa: S101, PT018 - else it is refused
    borrower_id = await _borrower(session, caller, wanted.user_id)
    _demand_due(wanted.due_at, policy)
    terms = _Terms(borrower_id, caller.id, wanted.due_at, wanted.note)
    item = await items_service.locked(session, wanted.item_id)
    if item.tracking == Tracking.KIT:
        return await _lend_kit(session, item, wanted.quantity, wanted, terms)
    return await _lend(session, item, wanted.quantity, terms, wanted.location_id, wanted.unit_ids)


async def take_back(session: AsyncSession, caller: Principal, loan_id: int, wanted: Return) -> Loan:
    """Takes back all that is out, or a part of it.

    A loan that is over, or a unit that is back, gives the same answer again and changes nothing.
    """
    loan = await _locked(session, caller, loan_id)
    demand(caller, Permission.BORROW if loan.user_id == caller.id else Permission.RETURN_FOR_OTHERS)
    to = await locations_service.open_id(session, wanted.location_id) if wanted.location_id else None
    return await _settle_whole(session, caller, loan, wanted, _Outcome(EntryKind.RETURN, wanted.condition, to))


async def lose(session: AsyncSession, caller: Principal, loan_id: int, wanted: Loss) -> Loan:
    """Gives up what is out, or a part of it: it is owned no more."""
    demand(caller, Permission.MOVE_STOCK)
    loan = await _locked(session, caller, loan_id)
    return await _settle_whole(session, caller, loan, wanted, _Outcome(EntryKind.LOST, wanted.reason))


async def renew(session: AsyncSession, caller: Principal, loan_id: int, wanted: Renewal, policy: Policy) -> Loan:
    """Puts off the day of return. A loan that is due then already stays as it is, so it may be sent again.

    Raises a 409 Problem where the policy allows no further renewal to a borrower; staff may go on.
    """
    loan = await _locked(session, caller, loan_id)
    demand(caller, Permission.BORROW if loan.user_id == caller.id else Permission.LEND_TO_OTHERS)
    if loan.returned_at is not None:
        raise conflict("returned", "The loan is over.")
    if loan.kit_loan_id is not None:
        raise _part_of_kit(loan.kit_loan_id)
    if loan.due_at == wanted.due_at:
        return loan
    _demand_due(wanted.due_at, policy)
    if not may(caller, Permission.LEND_TO_OTHERS):
        _demand_renewable(loan, wanted.due_at, policy)
    with refusing_reserved():
        await repository.renew(session, loan.id, wanted.due_at)
        await repository.renew_parts(session, loan.id, wanted.due_at)
    outdate(session, "catalogue")
    await audit.record(session, caller, "renew", "loan", loan.id, {"due_at": loan.due_at}, {"due_at": wanted.due_at})
    return await _fresh(session, loan.id)


async def page(session: AsyncSession, caller: Principal, query: LoanQuery) -> Sequence[Loan]:
    filters = query.model_dump(include={"item_id", "user_id", "kit_loan_id"}, exclude_none=True)
    if not may(caller, Permission.SEE_ALL_LOANS):
        if query.user_id not in (None, caller.id):
            demand(caller, Permission.SEE_ALL_LOANS)
        filters["user_id"] = caller.id
    return await repository.after(
        session, query.after, query.limit + 1, filters, is_open=query.open, overdue=query.overdue
    )


async def get(session: AsyncSession, caller: Principal, loan_id: int) -> Loan:
    loan = await repository.get(session, loan_id)
    # A loan that isn't the caller's business looks like one that isn't there.
    if loan is None or (loan.user_id != caller.id and not may(caller, Permission.SEE_ALL_LOANS)):
        raise not_found("loan")
    return loan


async def _lend(
    session: AsyncSession,
    item: Item | LockedItem,
    quantity: int,
    terms: _Terms,
    location_id: int | None,
    unit_ids: Sequence[int] | None,
) -> Loan:
    if item.tracking == Tracking.UNITS:
        return await _lend_units(session, item, quantity, terms, location_id, unit_ids)
    if unit_ids is not None:
        raise _refused("not-in-units", f"The item {item.sku} is tracked by quantity: it has no units to choose.")
    if location_id is None:
        location_id, available = await levels.fullest(session, item.id) or (None, 0)
        if location_id is None or available < quantity:
            raise conflict("out-of-stock", _too_few(item, quantity, available))
    loan = await _add(session, item, quantity, terms, location_id)
    entry = Entry(
        item.id,
        location_id,
        EntryKind.LOAN,
        on_hand=-quantity,
        on_loan=quantity,
        loan_id=loan.id,
        actor_id=terms.lender_id,
    )
    await ledger.enter(session, [entry])
    return loan


async def _lend_units(
    session: AsyncSession,
    item: Item | LockedItem,
    quantity: int,
    terms: _Terms,
    location_id: int | None,
    unit_ids: Sequence[int] | None,
) -> Loan:
    if unit_ids is None:
        chosen = await reservations.units_to_lend(session, item.id, location_id, terms.due_at, quantity)
        if len(chosen) < quantity:
            raise conflict("out-of-stock", _too_few(item, quantity, len(chosen)))
    else:
        if len(set(unit_ids)) != quantity:
            raise _refused("wrong-quantity", f"The quantity is {quantity}, but {len(set(unit_ids))} units are named.")
        known = await units.of_item(session, item.id, unit_ids)
        chosen = [_lendable(known.get(unit_id), location_id) for unit_id in sorted(set(unit_ids))]
    loan = await _add(session, item, quantity, terms, chosen[0].location_id, [unit.id for unit in chosen])
    await units.change(session, [unit.id for unit in chosen], {"loan_id": loan.id})
    await ledger.enter(
        session,
        [
            Entry(
                item.id,
                unit.location_id,
                EntryKind.LOAN,
                on_hand=-1,
                on_loan=1,
                unit_id=unit.id,
                loan_id=loan.id,
                actor_id=terms.lender_id,
            )
            for unit in chosen
        ],
    )
    return loan


async def _lend_reserved(
    session: AsyncSession, caller: Principal, reservation_id: int, wanted: CheckOut, policy: Policy
) -> Loan:
    _demand_due(wanted.due_at, policy)
    taken = await reservations.take(session, caller, reservation_id)
    item = await items_service.locked(session, taken.item_id)
    terms = _Terms(taken.user_id, caller.id, wanted.due_at, wanted.note)
    loan = await _lend(session, item, taken.quantity, terms, taken.location_id, taken.unit_ids or None)
    await reservations.fulfil(session, caller, taken, loan.id)
    return loan


async def _lend_kit(session: AsyncSession, kit: LockedItem, quantity: int, wanted: CheckOut, terms: _Terms) -> Loan:
    if wanted.unit_ids is not None:
        raise _refused("not-in-units", f"The item {kit.sku} is a kit: it has no units of its own to choose.")
    # The kit's own lock, which the caller holds, keeps its list of parts as it is.
    parts = await items.parts(session, kit.id)
    if not parts:
        raise conflict("empty-kit", f"The kit {kit.sku} has no parts yet.")
    locked = await items.lock(session, [part.item_id for part in parts])
    whole = await _add(session, kit, quantity, terms, None)
    of_part = _Terms(terms.borrower_id, terms.lender_id, terms.due_at, terms.note, kit_loan_id=whole.id)
    for part in parts:
        item = locked[part.item_id]
        items_service.demand_in_use(item)
        await _lend(session, item, part.quantity * quantity, of_part, wanted.location_id, None)
    return whole


async def _add(
    session: AsyncSession,
    item: Item | LockedItem,
    quantity: int,
    terms: _Terms,
    location_id: int | None,
    unit_ids: Sequence[int] = (),
) -> Loan:
    with refusing_reserved():
        return await repository.add(
            session,
            unit_ids,
            item_id=item.id,
            user_id=terms.borrower_id,
            quantity=quantity,
            lent_by=terms.lender_id,
            due_at=terms.due_at,
            location_id=location_id,
            kit_loan_id=terms.kit_loan_id,
            note=terms.note,
        )


@dataclass(frozen=True)
class _Outcome:
    """How something that was out ends: back, to a location if not to where it came from, or lost."""

    kind: EntryKind
    note: str
    to: int | None = None

    @property
    def lost(self) -> bool:
        return self.kind == EntryKind.LOST

    def counted(self, quantity: int) -> dict[str, int]:
        return {"lost": quantity} if self.lost else {"returned": quantity}


async def _settle_whole(
    session: AsyncSession, caller: Principal, loan: Loan, wanted: Return | Loss, outcome: _Outcome
) -> Loan:
    """A loan of a quantity or of units, or a kit's loan with those of its parts."""
    if loan.returned_at is not None:
        return loan
    parts = await repository.open_parts(session, loan.id)
    if loan.kit_loan_id is not None and not outcome.lost:
        raise _part_of_kit(loan.kit_loan_id)
    if parts:
        if wanted.unit_ids is not None or wanted.quantity not in (None, loan.outstanding):
            raise _refused("kit-as-one", "A kit is returned as one: leave out quantity and units.")
        for part in parts:
            await _settle(session, caller, part, part.outstanding, None, outcome)
    quantity = len(set(wanted.unit_ids)) if wanted.unit_ids is not None else wanted.quantity or loan.outstanding
    if wanted.quantity is not None and quantity != wanted.quantity:
        raise _refused("wrong-quantity", f"The quantity is {wanted.quantity}, but {quantity} units are named.")
    await _settle(session, caller, loan, quantity, wanted.unit_ids, outcome)
    return await _fresh(session, loan.id)


async def _settle(
    session: AsyncSession,
    caller: Principal,
    loan: Loan,
    quantity: int,
    unit_ids: Sequence[int] | None,
    outcome: _Outcome,
) -> None:
    if loan.units:
        quantity = await _settle_units(session, caller, loan, quantity, unit_ids, outcome)
    elif unit_ids is not None:
        raise _refused("not-in-units", "This loan is of a quantity: it has no units to choose.")
    elif quantity > loan.outstanding:
        raise conflict("not-so-many-out", f"Of this loan, {loan.outstanding} are still out.")
    elif not await _is_kit(session, loan):
        from_id = loan.location_id or await locations.main_id(session)
        await ledger.enter(session, _entries(caller, loan, from_id, quantity, None, outcome))
    if quantity:
        await repository.settle(session, loan, **outcome.counted(quantity))
        await reservations.pass_on(session, loan.item_id)


async def _settle_units(
    session: AsyncSession,
    caller: Principal,
    loan: Loan,
    quantity: int,
    unit_ids: Sequence[int] | None,
    outcome: _Outcome,
) -> int:
    """How many came back or are lost now: units that are back already are passed over."""
    lent = {unit.unit_id for unit in loan.units}
    out = {unit.unit_id for unit in loan.units if unit.returned_at is None and not unit.lost}
    if unit_ids is None:
        if quantity != len(out):
            raise _refused("units-needed", "This loan is of units: say which of them, not how many.")
        unit_ids = sorted(out)
    strangers = sorted(set(unit_ids) - lent)
    if strangers:
        raise _refused("not-of-this-loan", f"This loan has no unit {strangers[0]}.")
    settled = sorted(set(unit_ids) & out)
    if not settled:
        return 0
    known = await units.of_item(session, loan.item_id, settled)
    entries = [
        entry
        for unit_id in settled
        for entry in _entries(caller, loan, known[unit_id].location_id, 1, unit_id, outcome)
    ]
    await ledger.enter(session, entries)
    await repository.settle_units(session, loan.id, settled, lost=outcome.lost, note=outcome.note)
    changes: dict[str, object] = {"loan_id": None}
    if outcome.lost:
        changes["state"] = UnitState.LOST
    elif outcome.to is not None:
        changes["location_id"] = outcome.to
    if outcome.note:
        changes["condition"] = outcome.note
    await units.change(session, settled, changes)
    return len(settled)


def _entries(
    caller: Principal, loan: Loan, from_id: int, quantity: int, unit_id: int | None, outcome: _Outcome
) -> list[Entry]:
    to = outcome.to or from_id
    back = 0 if outcome.lost else quantity
    taken_off = Entry(
        loan.item_id,
        from_id,
        outcome.kind,
        on_hand=back if to == from_id else 0,
        on_loan=-quantity,
        unit_id=unit_id,
        loan_id=loan.id,
        actor_id=caller.id,
        reason=outcome.note,
    )
    put_down = Entry(
        loan.item_id,
        to,
        outcome.kind,
        on_hand=back,
        unit_id=unit_id,
        loan_id=loan.id,
        actor_id=caller.id,
        reason=outcome.note,
    )
    return [taken_off] if to == from_id else [taken_off, put_down]


async def _locked(session: AsyncSession, caller: Principal, loan_id: int) -> Loan:
    """The loan as it is under the locks of its item and, of a kit, of its parts."""
    loan = await get(session, caller, loan_id)
    parts = await items.parts(session, loan.item_id)
    await items.lock(session, [loan.item_id, *(part.item_id for part in parts)])
    return await _fresh(session, loan_id)


async def _fresh(session: AsyncSession, loan_id: int) -> Loan:
    loan = await repository.get(session, loan_id)
    assert loan is not None  # noqa: S101 - no loan is ever removed
    return loan


async def _is_kit(session: AsyncSession, loan: Loan) -> bool:
    item = await items.get(session, loan.item_id)
    return item is not None and item.tracking == Tracking.KIT


def _lendable(unit: Unit | None, location_id: int | None) -> Unit:
    """The unit. Raises a Problem where it can't be lent now, or not from there."""
    if unit is None:
        raise not_found("unit of this item")
    if unit.loan_id is not None:
        raise conflict("out-of-stock", f"The unit {unit.serial} is on loan.")
    if unit.state != UnitState.LENDABLE:
        raise conflict("not-lendable", f"The unit {unit.serial} is {unit.state}.")
    if location_id is not None and unit.location_id != location_id:
        raise conflict("elsewhere", f"The unit {unit.serial} is at another location.")
    return unit


def _demand_due(due_at: datetime, policy: Policy) -> None:
    now = datetime.now(UTC)
    if due_at <= now:
        raise _refused("due-in-the-past", "A loan must be due in the future.")
    if policy.longest is not None and due_at > now + policy.longest:
        raise _refused("due-too-late", f"A loan may be due in {policy.longest.days} days at the latest.")


def _demand_renewable(loan: Loan, due_at: datetime, policy: Policy) -> None:
    if loan.renewals >= policy.renewals:
        raise conflict("renewed-too-often", f"A borrower may renew a loan {policy.renewals} times.")
    if due_at < loan.due_at:
        raise _refused("due-earlier", "A renewal can only be to a later time.")


def _too_few(item: Item | LockedItem, wanted: int, available: int) -> str:
    return f"Of the item {item.sku}, {available} are available in one place, which is fewer than {wanted}."


def _part_of_kit(kit_loan_id: int) -> Problem:
    return conflict(
        "part-of-kit", f"This is a part of a kit, which is lent and returned as one: see loan {kit_loan_id}."
    )


def _refused(kind: str, detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, kind, detail)


async def _borrower(session: AsyncSession, caller: Principal, user_id: int | None) -> int:
    if user_id is None or user_id == caller.id:
        demand(caller, Permission.BORROW)
        return caller.id
    demand(caller, Permission.LEND_TO_OTHERS)
    borrower = await users.get(session, user_id)
    if borrower is None or not borrower.active:
        raise not_found("user")
    return borrower.id
