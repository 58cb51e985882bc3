import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import repository
from inventory_api.audit.models import AuditEvent
from inventory_api.audit.schemas import AuditQuery
from inventory_api.logs import current_request_id
from inventory_api.users.permissions import Permission, Principal, demand

# No service hands these over; if one ever does, that they changed is all that is kept.
_SECRET = re.compile("password|secret|token|digest|hash", re.IGNORECASE)
_HIDDEN = "(hidden)"
Fields = Mapping[str, Any]
Change = tuple[int, Fields | None, Fields | None]


async def record(
    session: AsyncSession,
    caller: Principal | None,
    action: str,
    subject: str,
    subject_id: int,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    """Keeps, in the transaction of the change, who did what to what.

    `action` is a verb and `subject` a noun, as in "change" and "item"; `before` and `after` are its fields, of which
    those are kept that differ. `before` is None for what is new, `after` for what is gone, and both for what has no
    fields to show. Where both are given and nothing differs, nothing happened, and nothing is kept.
    """
    for event in _events(caller, action, subject, [(subject_id, before, after)]):
        await repository.add(session, **event)


async def record_many(
    session: AsyncSession, caller: Principal, action: str, subject: str, changes: Iterable[Change]
) -> None:
    """The same for a great many, each with its subject's id, and its fields before and after, in one statement."""
    events = list(_events(caller, action, subject, changes))
    if events:
        await repository.add_many(session, events)


async def page(session: AsyncSession, caller: Principal, query: AuditQuery) -> Sequence[AuditEvent]:
    """The newest first."""
    demand(caller, Permission.SEE_AUDIT)
    filters = query.model_dump(include={"subject", "subject_id", "actor_id", "action"}, exclude_none=True)
    return await repository.before(session, query.after or None, query.limit + 1, filters, query.since, query.until)


def _events(caller: Principal | None, action: str, subject: str, changes: Iterable[Change]) -> Iterator[dict[str, Any]]:
    for subject_id, before, after in changes:
        if before is not None and after is not None:
            changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
            if not changed:
                continue
            before = {name: before[name] for name in changed if name in before}
            after = {name: after[name] for name in changed if name in after}
        yield {
            "actor_id": caller.id if caller else None,
            "request_id": current_request_id(),
            "action": action,
            "subject": subject,
            "subject_id": subject_id,
            "before": _kept(before),
            "after": _kept(after),
        }


def _kept(fields: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if fields is None:
        return None
    shown = {name: _HIDDEN if _SECRET.search(name) else value for name, value in fields.items()}
    kept: dict[str, Any] = to_jsonable_python(shown, fallback=str)
    return kept
