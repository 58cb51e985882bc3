from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.maintenance import repository
from inventory_api.maintenance.models import MaintenanceEntry
from inventory_api.maintenance.schemas import DueQuery, MaintenanceCreate, MaintenanceQuery
from inventory_api.problems import Problem
from inventory_api.units import service as units
from inventory_api.units.schemas import UnitStateChange
from inventory_api.users.permissions import Permission, Principal, demand

# A caller's clock may be that much ahead.
_CLOCKS_APART = timedelta(minutes=1)


async def add(session: AsyncSession, caller: Principal, unit_id: int, wanted: MaintenanceCreate) -> MaintenanceEntry:
    """Enters what was done, and changes the unit's state with it where that is wanted.

    Raises a 422 Problem for what is yet to be done, and a 409 Problem where the state can't be changed.
    """
    demand(caller, Permission.MAINTAIN_UNITS)
    unit = await units.get(session, unit_id)
    now = datetime.now(UTC)
    done_at = wanted.done_at or now
    if done_at > now + _CLOCKS_APART:
        raise _refused("done-in-the-future", "Only what was done is entered: done_at must not be in the future.")
    if wanted.next_due_at is not None and wanted.next_due_at <= done_at:
        raise _refused("due-before-done", "What is to be done again is due later than it was done.")
    if wanted.state is not None:
        change = UnitStateChange(state=wanted.state, reason=wanted.text[:500] or wanted.kind)
        await units.set_state(session, caller, unit.id, change)
    values = wanted.model_dump(include={"text", "cost_cents", "done_by", "next_due_at", "state"})
    entry = await repository.add(
        session, unit_id=unit.id, kind=wanted.kind, done_at=done_at, entered_by=caller.id, **values
    )
    await audit.record(
        session, caller, "maintain", "unit", unit.id, None, {"entry_id": entry.id, "kind": wanted.kind, **values}
    )
    return entry


async def log(
    session: AsyncSession, caller: Principal, unit_id: int, query: MaintenanceQuery
) -> Sequence[MaintenanceEntry]:
    """The newest first."""
    demand(caller, Permission.MAINTAIN_UNITS)
    await units.get(session, unit_id)
    return await repository.before(session, unit_id, query.kind, query.after or None, query.limit + 1)


async def due(session: AsyncSession, caller: Principal, query: DueQuery) -> Sequence[Any]:
    """What is to be done again, what is due longest first."""
    demand(caller, Permission.MAINTAIN_UNITS)
    return await repository.due(session, query.until, query.kind, query.after_moment, query.limit + 1)


def _refused(kind: str, detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, kind, detail)
