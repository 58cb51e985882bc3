"""People from a file: new ones may be lent to at once, and sign in once an admin has given them a password."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.audit.service import Change
from inventory_api.transfer import repository
from inventory_api.transfer.batch import Ids, Importer, Line, LineErrors, RowBase, Seen, changed_meanwhile
from inventory_api.transfer.columns import Column, columns_of, line_errors
from inventory_api.transfer.formats import LineError
from inventory_api.transfer.repository import Found
from inventory_api.transfer.schemas import ImportQuery, Mode, UserGiven
from inventory_api.users.permissions import Principal

STORED = tuple(UserGiven.model_fields)
FIGURES = ("id", "created_at")
_MAX_EMAIL = 254


@dataclass(frozen=True)
class UserRow(RowBase):
    id: int | None
    before: Mapping[str, Any] | None
    """What a known user has now."""
    values: dict[str, Any]


class UserImport(Importer):
    columns: Mapping[str, Column] = columns_of(UserGiven)
    ignored = frozenset(FIGURES)

    def __init__(self, session: AsyncSession, wanted: ImportQuery, caller: Principal, password_hash: str) -> None:
        """`password_hash` is that of the new ones, of a password that nobody knows."""
        self._session = session
        self._wanted = wanted
        self._caller = caller
        self._password_hash = password_hash
        self._seen, self._ids = Seen(), Ids()

    async def understand(self, batch: Sequence[Line], errors: LineErrors) -> Sequence[UserRow]:
        emails = {email for line in batch if (email := _email(line))}
        users = await repository.users_by_email(self._session, emails, STORED)
        self._ids.add(user.id for user in users.values())
        rows = (self._understood(line, users, errors) for line in batch)
        return [row for row in rows if row is not None]

    async def prepare(self) -> None:
        for ids in self._ids.in_order():
            await repository.lock_users(self._session, ids)

    async def write(self, rows: Sequence[UserRow]) -> None:
        await self._add([row.values for row in rows if row.id is None])
        await self._change([row for row in rows if row.id is not None and row.changed])

    async def _add(self, new: Sequence[Mapping[str, Any]]) -> None:
        if new:
            given = [{**values, "password_hash": self._password_hash} for values in new]
            ids = await repository.add_users(self._session, (*STORED, "password_hash"), given)
            if len(ids) != len(new):
                raise changed_meanwhile("an email address was taken")
            made: list[Change] = [(ids[values["email"]], None, values) for values in new]
            await audit.record_many(self._session, self._caller, "create", "user", made)

    async def _change(self, rows: Sequence[UserRow]) -> None:
        if rows:
            await repository.change_users(self._session, [{"id": row.id, **row.values} for row in rows])
            changes: list[Change] = [(row.id or 0, row.before, row.values) for row in rows]
            await audit.record_many(self._session, self._caller, "change", "user", changes)

    def _understood(self, line: Line, users: Mapping[str, Found], errors: LineErrors) -> UserRow | None:
        email = _email(line)
        user = users.get(email or "")
        problems = self._problems(line.number, email, user)
        before = dict(user.values) if user else {}
        try:
            wanted = UserGiven.model_validate({**before, **line.values})
        except ValidationError as error:
            errors.add(*problems, *line_errors(line.number, error, {}))
            return None
        stored = wanted.model_dump(mode="json")
        problems = problems or _change_problems(line.number, user, stored)
        errors.add(*problems)
        if problems:
            return None
        return UserRow(
            created=user is None,
            changed=stored != before,
            id=user.id if user else None,
            before=user.values if user else None,
            values=stored,
        )

    def _problems(self, line: int, email: str | None, user: Found | None) -> list[LineError]:
        problems = []
        if email and (first := self._seen.again(email, line)):
            problems.append(LineError(line, "email", f"is in line {first} already"))
        if user and self._wanted.mode is Mode.CREATE:
            problems.append(LineError(line, "email", "is there already; mode=upsert changes the name"))
        return problems


def _email(line: Line) -> str | None:
    email = line.text("email", _MAX_EMAIL)
    return email.lower() if email else None


def _change_problems(line: int, user: Found | None, after: Mapping[str, Any]) -> list[LineError]:
    """What somebody may do, and whether they may call at all, is changed one by one: sessions and tokens end with it,
    and an admin is left.
    """
    return [
        LineError(line, name, f"is {str(user.values[name]).lower()}: PATCH /users/{{id}} changes it")
        for name in ("role", "active")
        if user and user.values[name] != after[name]
    ]
