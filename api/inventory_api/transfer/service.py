"""Imports and exports: all or nothing in, and as of one moment out."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from inventory_api.cache import touch
from inventory_api.categories.models import Category
from inventory_api.locations import repository as locations
from inventory_api.locations.models import Location
from inventory_api.passwords import Passwords
from inventory_api.problems import Problem
from inventory_api.transfer import repository
from inventory_api.transfer.batch import SIZE, Importer, Line, LineErrors, changed_meanwhile
from inventory_api.transfer.columns import from_cells
from inventory_api.transfer.formats import (
    Limits,
    LineError,
    Record,
    UnreadableError,
    csv_bytes,
    jsonl_bytes,
    read_csv,
    read_jsonl,
)
from inventory_api.transfer.items import ItemImport
from inventory_api.transfer.levels import LevelImport
from inventory_api.transfer.parts import PartImport
from inventory_api.transfer.places import PlaceImport
from inventory_api.transfer.schemas import ExportKind, ExportQuery, Format, ImportKind, ImportQuery, ImportReport
from inventory_api.transfer.spool import Spool
from inventory_api.transfer.tables import TABLES
from inventory_api.transfer.units import UnitImport
from inventory_api.transfer.users import UserImport
from inventory_api.users.permissions import Permission, Principal, demand

# An import may no more than the operations that do the same one by one.
_NEEDED = {
    ImportKind.CATEGORIES: (Permission.EDIT_CATALOGUE,),
    ImportKind.LOCATIONS: (Permission.EDIT_CATALOGUE,),
    ImportKind.ITEMS: (Permission.EDIT_CATALOGUE, Permission.MOVE_STOCK),
    ImportKind.KIT_PARTS: (Permission.EDIT_CATALOGUE,),
    ImportKind.UNITS: (Permission.EDIT_CATALOGUE, Permission.MOVE_STOCK),
    ImportKind.STOCK_LEVELS: (Permission.EDIT_CATALOGUE, Permission.MOVE_STOCK),
    ImportKind.USERS: (Permission.EDIT_USERS,),
}

_NEEDED_TO_SEE = {
    ExportKind.STOCK_ENTRIES: (Permission.SEE_ALL_LOANS,),
    ExportKind.LOANS: (Permission.SEE_ALL_LOANS,),
    ExportKind.USERS: (Permission.SEE_USERS,),
}


@dataclass
class _Tally:
    lines: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0


def demand_import(caller: Principal, kind: ImportKind) -> None:
    """Raises a 403 Problem unless the caller may import this."""
    for permission in (Permission.IMPORT_AND_EXPORT, *_NEEDED[kind]):
        demand(caller, permission)


async def bring_in(
    session: AsyncSession, passwords: Passwords, caller: Principal, wanted: ImportQuery, spool: Spool, limits: Limits
) -> ImportReport:
    """What came of the file, or would come of it on a dry run.

    Raises a 422 Problem that lists what is wrong, a 503 Problem while another import is under way, and a 409 Problem
    where what the file is about was changed meanwhile. Nothing is kept then.
    """
    demand_import(caller, wanted.kind)
    if not wanted.dry_run and not await repository.begin_import(session):
        detail = "Another import is under way. Send the request again when it is over."
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, {"Retry-After": "10"})
    importer = await _importer(session, passwords, caller, wanted)
    file = _File(importer, wanted, spool, limits)
    errors, tally = LineErrors(), _Tally()
    async with repository.planned_anew(session):
        for batch in file.batches(errors, tally):
            for row in await importer.understand(batch, errors):
                tally.created += row.created
                tally.updated += row.changed and not row.created
                tally.unchanged += not row.changed and not row.created
    report = _report(importer, wanted, file, errors, tally)
    if wanted.dry_run:
        return report
    if errors.count:
        raise _refused(errors)
    touch(session, "catalogue")
    try:
        await _write(session, importer, file)
    except IntegrityError as error:
        raise changed_meanwhile("a name, a serial number or a barcode was taken") from error
    return report


def filters(caller: Principal, wanted: ExportQuery) -> dict[str, Any]:
    """What `take_out` filters by.

    Raises a 403 Problem unless the caller may see all of it, and a 422 Problem for a filter that the kind doesn't have.
    """
    for permission in (Permission.IMPORT_AND_EXPORT, *_NEEDED_TO_SEE.get(wanted.kind, ())):
        demand(caller, permission)
    known = TABLES[wanted.kind].filters
    given = wanted.model_dump(exclude={"kind", "format"}, exclude_none=True)
    strangers = sorted((given.keys() & wanted.model_fields_set) - known.keys())
    if strangers:
        detail = f"An export of {wanted.kind} has no filter {strangers[0]}. It has: {', '.join(known) or 'none'}."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "unknown-filter", detail)
    return {name: value for name, value in given.items() if name in known}


async def take_out(
    connection: AsyncConnection, kind: ExportKind, shape: Format, wanted: dict[str, Any]
) -> AsyncIterator[bytes]:
    """The export, a few hundred lines at a time, as far as the connection's transaction sees it."""
    table = TABLES[kind]
    names = list(table.columns)
    # The header goes with the first lines: until there are any, the answer may still be that they can't be had.
    header = csv_bytes([names]) if shape is Format.CSV else b""
    async for rows in repository.table_rows(connection, table, wanted):
        yield header + (csv_bytes(rows) if shape is Format.CSV else jsonl_bytes(names, rows))
        header = b""
    yield header


async def _write(session: AsyncSession, importer: Importer, file: "_File") -> None:
    await importer.prepare()
    errors = LineErrors()
    for batch in file.batches(errors, _Tally()):
        async with repository.planned_anew(session):
            rows = await importer.understand(batch, errors)
        for error in errors.listed():
            raise changed_meanwhile(f"line {error.line}, {error.field}: {error.message}")
        await importer.write(rows)


class _File:
    """The lines of a file, as often as they are gone through."""

    def __init__(self, importer: Importer, wanted: ImportQuery, spool: Spool, limits: Limits) -> None:
        self._columns = importer.columns
        self._known_figures = importer.ignored
        self._format = wanted.format
        self._spool = spool
        self._limits = limits
        self.ignored: set[str] = set()

    def batches(self, errors: LineErrors, tally: _Tally) -> Iterator[list[Line]]:
        """The lines that can be read; what is wrong with the others is added to the errors."""
        lines = self._lines(errors, tally)
        while batch := list(islice(lines, SIZE)):
            yield batch

    def _lines(self, errors: LineErrors, tally: _Tally) -> Iterator[Line]:
        try:
            for record in self._records():
                tally.lines += 1
                if isinstance(record, LineError):
                    errors.add(record)
                else:
                    yield self._line(record)
        except UnreadableError as error:
            errors.add(*error.errors)

    def _records(self) -> Iterable[Record | LineError]:
        read: Callable[..., Iterator[Record | LineError]] = read_csv if self._format is Format.CSV else read_jsonl
        return read(self._spool.chunks(), self._limits, self._columns.keys() | self._known_figures)

    def _line(self, record: Record) -> Line:
        figures = record.values.keys() & self._known_figures
        self.ignored |= figures
        values = {name: value for name, value in record.values.items() if name not in figures}
        return Line(record.line, from_cells(values, self._columns) if self._format is Format.CSV else values)


async def _importer(session: AsyncSession, passwords: Passwords, caller: Principal, wanted: ImportQuery) -> Importer:
    main = await locations.main_id(session)
    match wanted.kind:
        case ImportKind.CATEGORIES:
            return PlaceImport(session, wanted, caller, Category)
        case ImportKind.LOCATIONS:
            return PlaceImport(session, wanted, caller, Location)
        case ImportKind.ITEMS:
            return ItemImport(session, wanted, caller, main)
        case ImportKind.KIT_PARTS:
            return PartImport(session, wanted, caller)
        case ImportKind.UNITS:
            return UnitImport(session, wanted, caller, main)
        case ImportKind.STOCK_LEVELS:
            return LevelImport(session, wanted, caller, main)
        case ImportKind.USERS:
            with passwords.place_in_line():
                nobody_knows = await passwords.hash(secrets.token_urlsafe(32))
            return UserImport(session, wanted, caller, nobody_knows)


def _report(importer: Importer, wanted: ImportQuery, file: _File, errors: LineErrors, tally: _Tally) -> ImportReport:
    return ImportReport(
        kind=wanted.kind,
        dry_run=wanted.dry_run,
        lines=tally.lines,
        created=tally.created,
        updated=tally.updated,
        unchanged=tally.unchanged,
        created_categories=importer.categories_missing,
        created_locations=importer.locations_missing,
        ignored_columns=sorted(file.ignored),
        error_count=errors.count,
        errors=errors.listed(),
    )


def _refused(errors: LineErrors) -> Problem:
    listed = errors.listed()
    detail = f"Nothing was imported: {errors.count} errors"
    detail += f", of which {len(listed)} are listed." if errors.count > len(listed) else "."
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-import", detail, errors=listed)
