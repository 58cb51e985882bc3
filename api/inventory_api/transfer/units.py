"""Units from a file: new ones are received, of known ones barcode and condition change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.audit.service import Change
from inventory_api.items.models import Tracking
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind
from inventory_api.ledger.repository import Entry
from inventory_api.reservations import service as reservations
from inventory_api.transfer import repository
from inventory_api.transfer.batch import REASON, Ids, Importer, Line, LineErrors, RowBase, Seen, changed_meanwhile
from inventory_api.transfer.columns import TEXT, Column, columns_of, line_errors
from inventory_api.transfer.formats import LineError
from inventory_api.transfer.items import MAX_SKU
from inventory_api.transfer.places import LocationNames, barcode_problems
from inventory_api.transfer.repository import Found
from inventory_api.transfer.schemas import ImportQuery, Mode, UnitGiven
from inventory_api.units.models import Unit, UnitState
from inventory_api.units.service import COUNTS
from inventory_api.users.permissions import Principal

STORED = ("serial", "barcode", "condition", "state", "location_id")
FIGURES = ("on_loan",)
_MAX_SERIAL, _MAX_BARCODE = 100, 100


@dataclass(frozen=True)
class UnitRow(RowBase):
    id: int | None
    item_id: int
    before: Mapping[str, Any] | None
    """What a known unit has now."""
    values: dict[str, Any]


class UnitImport(Importer):
    columns: Mapping[str, Column] = {"sku": Column("string"), **columns_of(UnitGiven, "location_id"), "location": TEXT}
    ignored = frozenset(FIGURES)

    def __init__(self, session: AsyncSession, wanted: ImportQuery, caller: Principal, main_location: int) -> None:
        self._session = session
        self._wanted = wanted
        self._caller = caller
        self._main = main_location
        self._locations = LocationNames(session, caller, create=wanted.create_missing)
        self._seen, self._barcodes, self._ids = Seen(), Seen(), Ids()

    @property
    def locations_missing(self) -> int:
        return len(self._locations.tree.missing)

    async def understand(self, batch: Sequence[Line], errors: LineErrors) -> Sequence[UnitRow]:
        skus = {sku for line in batch if (sku := line.text("sku", MAX_SKU))}
        items = await repository.items_by_sku(self._session, skus, ("tracking",))
        self._ids.add(item.id for item in items.values())
        keys = {key for line in batch if (key := _key(line, items))}
        units = await repository.units_by_serial(self._session, keys, STORED)
        barcodes = {barcode for line in batch if (barcode := line.text("barcode", _MAX_BARCODE))}
        taken = await repository.barcodes_taken(self._session, Unit, barcodes) if barcodes else {}
        await self._locations.learn(line.values.get("location") for line in batch)
        rows = (self._understood(line, items, units, taken, errors) for line in batch)
        return [row for row in rows if row is not None]

    async def prepare(self) -> None:
        await self._locations.tree.create()
        for ids in self._ids.in_order():
            await repository.lock_items(self._session, ids)
        await self._locations.keep()

    async def write(self, rows: Sequence[UnitRow]) -> None:
        ids = await self._add([{"item_id": row.item_id, **row.values} for row in rows if row.id is None])
        await self._change([row for row in rows if row.id is not None and row.changed])
        received = [
            self._receipt(row, ids[row.item_id, row.values["serial"]])
            for row in rows
            if row.id is None and COUNTS[UnitState(row.values["state"])] != (0, 0)
        ]
        if received:
            await ledger.enter_many(self._session, received)
            await reservations.pass_on_many(self._session, sorted({entry.item_id for entry in received}))

    async def _add(self, new: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], int]:
        """The ids of the new units by item and serial number."""
        ids = await repository.add_units(self._session, STORED, new) if new else {}
        if len(ids) != len(new):
            raise changed_meanwhile("a serial number or a barcode was taken")
        made: list[Change] = [(ids[values["item_id"], values["serial"]], None, values) for values in new]
        await audit.record_many(self._session, self._caller, "create", "unit", made)
        return ids

    async def _change(self, rows: Sequence[UnitRow]) -> None:
        if rows:
            await repository.change_units(self._session, [{"id": row.id, **row.values} for row in rows])
            changes: list[Change] = [(row.id or 0, row.before, row.values) for row in rows]
            await audit.record_many(self._session, self._caller, "change", "unit", changes)

    def _understood(
        self,
        line: Line,
        items: Mapping[str, Found],
        units: Mapping[tuple[int, str], Found],
        taken: Mapping[str, int],
        errors: LineErrors,
    ) -> UnitRow | None:
        item = items.get(line.text("sku", MAX_SKU) or "")
        key = _key(line, items)
        unit = units.get(key) if key else None
        problems = _item_problems(line.number, item) + self._problems(line, key, unit, taken)
        values = {name: value for name, value in line.values.items() if name not in ("sku", "location")}
        before = dict(unit.values) if unit else {}
        try:
            values["location_id"] = self._location(line.values.get("location"), before)
        except ValueError as error:
            problems.append(LineError(line.number, "location", str(error)))
        try:
            wanted = UnitGiven.model_validate({**before, **values})
        except ValidationError as error:
            errors.add(*problems, *line_errors(line.number, error, {"location_id": "location"}))
            return None
        stored = wanted.model_dump(mode="json", include=set(STORED))
        problems += _change_problems(line.number, before, stored)
        errors.add(*problems)
        if problems or item is None:
            return None
        return UnitRow(
            created=unit is None,
            changed=stored != before,
            id=unit.id if unit else None,
            item_id=item.id,
            before=unit.values if unit else None,
            values=stored,
        )

    def _problems(
        self, line: Line, key: tuple[int, str] | None, unit: Found | None, taken: Mapping[str, int]
    ) -> list[LineError]:
        problems = []
        if key and (first := self._seen.again(key, line.number)):
            problems.append(LineError(line.number, "serial", f"is in line {first} already"))
        if unit and self._wanted.mode is Mode.CREATE:
            problems.append(LineError(line.number, "serial", "is there already; mode=upsert changes it"))
        barcode = line.text("barcode", _MAX_BARCODE)
        return problems + barcode_problems(line, barcode, taken, unit.id if unit else None, self._barcodes)

    def _location(self, name: Any, before: Mapping[str, Any]) -> int:
        """The location; where none is named, that where the unit is, or the first one for a new unit."""
        return int(before.get("location_id", self._main)) if name is None else self._locations.want(name)

    def _receipt(self, row: UnitRow, unit_id: int) -> Entry:
        on_hand, reserved = COUNTS[UnitState(row.values["state"])]
        return Entry(
            row.item_id,
            row.values["location_id"],
            EntryKind.RECEIVE,
            on_hand=on_hand,
            reserved=reserved,
            unit_id=unit_id,
            actor_id=self._caller.id,
            reason=REASON,
        )


def _key(line: Line, items: Mapping[str, Found]) -> tuple[int, str] | None:
    item = items.get(line.text("sku", MAX_SKU) or "")
    serial = line.text("serial", _MAX_SERIAL)
    return (item.id, serial) if item and serial else None


def _item_problems(line: int, item: Found | None) -> list[LineError]:
    if item is None:
        return [LineError(line, "sku", "There is no item with this SKU")]
    if item.archived:
        return [LineError(line, "sku", "is archived")]
    if item.values["tracking"] != Tracking.UNITS:
        return [LineError(line, "sku", f"is tracked by {item.values['tracking']}: it has no units")]
    return []


def _change_problems(line: int, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[LineError]:
    """A unit that is there stays where and as it is: both have operations of their own, which leave a trace."""
    if not before:
        return []
    problems = []
    if before["location_id"] != after["location_id"]:
        problems.append(LineError(line, "location", "is not where the unit is: POST /units/{id}/move moves it"))
    if before["state"] != after["state"]:
        problems.append(LineError(line, "state", f"is {before['state']}: POST /units/{{id}}/state changes it"))
    return problems
