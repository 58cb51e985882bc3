"""Stock from a file: what is to be on hand where. The difference to what is on hand there is entered in the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.items.models import Tracking
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind
from inventory_api.ledger.repository import Entry
from inventory_api.reservations import service as reservations
from inventory_api.transfer import repository
from inventory_api.transfer.batch import REASON, Ids, Importer, Line, LineErrors, RowBase, Seen
from inventory_api.transfer.columns import TEXT, Column, columns_of, line_errors
from inventory_api.transfer.formats import LineError
from inventory_api.transfer.items import MAX_SKU
from inventory_api.transfer.places import TO_COME, LocationNames
from inventory_api.transfer.repository import Found
from inventory_api.transfer.schemas import ImportQuery, LevelGiven, Mode
from inventory_api.users.permissions import Principal

FIGURES = ("on_loan", "reserved", "available")


@dataclass(frozen=True)
class LevelRow(RowBase):
    item_id: int
    location_id: int
    difference: int


@dataclass(frozen=True)
class _Understood:
    line: int
    item: Found
    location_id: int
    on_hand: int


class LevelImport(Importer):
    columns: Mapping[str, Column] = {**columns_of(LevelGiven), "location": TEXT}
    ignored = frozenset(FIGURES)

    def __init__(self, session: AsyncSession, wanted: ImportQuery, caller: Principal, main_location: int) -> None:
        self._session = session
        self._wanted = wanted
        self._caller = caller
        self._main = main_location
        self._locations = LocationNames(session, caller, create=wanted.create_missing)
        self._seen, self._ids = Seen(), Ids()

    @property
    def locations_missing(self) -> int:
        return len(self._locations.tree.missing)

    async def understand(self, batch: Sequence[Line], errors: LineErrors) -> Sequence[LevelRow]:
        skus = {sku for line in batch if (sku := line.text("sku", MAX_SKU))}
        items = await repository.items_by_sku(self._session, skus, ("tracking",))
        self._ids.add(item.id for item in items.values())
        await self._locations.learn(line.values.get("location") for line in batch)
        understood = [each for line in batch if (each := self._understood(line, items, errors))]
        keys = {(each.item.id, each.location_id) for each in understood}
        levels = await repository.levels(self._session, keys) if keys else {}
        rows = (self._row(each, levels.get((each.item.id, each.location_id)), errors) for each in understood)
        return [row for row in rows if row is not None]

    async def prepare(self) -> None:
        await self._locations.tree.create()
        for ids in self._ids.in_order():
            await repository.lock_items(self._session, ids)
        await self._locations.keep()

    async def write(self, rows: Sequence[LevelRow]) -> None:
        entries = [
            Entry(
                row.item_id,
                row.location_id,
                EntryKind.RECEIVE if row.created else EntryKind.ADJUST,
                on_hand=row.difference,
                actor_id=self._caller.id,
                reason=REASON,
            )
            for row in rows
            if row.difference
        ]
        if entries:
            await ledger.enter_many(self._session, entries)
            await reservations.pass_on_many(self._session, sorted({entry.item_id for entry in entries}))

    def _understood(self, line: Line, items: Mapping[str, Found], errors: LineErrors) -> _Understood | None:
        item = items.get(line.text("sku", MAX_SKU) or "")
        problems = _item_problems(line.number, item)
        name = line.values.get("location")
        location_id = self._main
        try:
            location_id = self._main if name is None else self._locations.want(name)
        except ValueError as error:
            problems.append(LineError(line.number, "location", str(error)))
        values = {name: value for name, value in line.values.items() if name != "location"}
        try:
            wanted = LevelGiven.model_validate(values)
        except ValidationError as error:
            errors.add(*problems, *line_errors(line.number, error, {}))
            return None
        # What is to come has no id yet, so it is known by its name.
        place = location_id if location_id != TO_COME else name
        if not problems and (first := self._seen.again((wanted.sku, place), line.number)):
            problems.append(LineError(line.number, "location", f"is in line {first} already, for the same item"))
        errors.add(*problems)
        if problems or item is None:
            return None
        return _Understood(line.number, item, location_id, wanted.on_hand)

    def _row(self, wanted: _Understood, level: tuple[int, int] | None, errors: LineErrors) -> LevelRow | None:
        on_hand, reserved = level or (0, 0)
        difference = wanted.on_hand - on_hand
        message = None
        if difference and wanted.item.values["tracking"] == Tracking.UNITS:
            message = f"is {on_hand} by its units, which are what changes it"
        elif difference and level and self._wanted.mode is Mode.CREATE:
            message = f"is {on_hand} already; mode=upsert changes it"
        elif wanted.on_hand < reserved:
            message = f"must be {reserved} at least: so many are reserved"
        if message:
            errors.add(LineError(wanted.line, "on_hand", message))
            return None
        return LevelRow(
            created=level is None and difference != 0,
            changed=difference != 0,
            item_id=wanted.item.id,
            location_id=wanted.location_id,
            difference=difference,
        )


def _item_problems(line: int, item: Found | None) -> list[LineError]:
    if item is None:
        return [LineError(line, "sku", "There is no item with this SKU")]
    if item.archived:
        return [LineError(line, "sku", "is archived")]
    if item.values["tracking"] == Tracking.KIT:
        return [LineError(line, "sku", "is a kit: its parts are what is in stock")]
    return []
