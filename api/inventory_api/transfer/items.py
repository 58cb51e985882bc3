"""Items from a file: created, changed where they are there already, and what comes with them received."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.audit.service import Change
from inventory_api.categories.models import Category
from inventory_api.items.models import Item, Tracking
from inventory_api.items.schemas import ItemCreate
from inventory_api.ledger import service as ledger
from inventory_api.ledger.models import EntryKind
from inventory_api.ledger.repository import Entry
from inventory_api.reservations import service as reservations
from inventory_api.transfer import repository
from inventory_api.transfer.batch import REASON, Ids, Importer, Line, LineErrors, RowBase, Seen, changed_meanwhile
from inventory_api.transfer.columns import TEXT, Column, columns_of, line_errors
from inventory_api.transfer.formats import LineError
from inventory_api.transfer.places import LocationNames, Tree, barcode_problems, path_or_none, read_path
from inventory_api.transfer.repository import Found
from inventory_api.transfer.schemas import STORED_OF_ITEM, ImportQuery, Mode
from inventory_api.users.permissions import Principal

MAX_SKU = 64
_MAX_BARCODE = 100
FIGURES = ("owned", "on_loan", "reserved", "available")


@dataclass(frozen=True)
class ItemRow(RowBase):
    id: int | None
    before: Mapping[str, Any] | None
    """What a known item has now."""
    values: dict[str, Any]
    quantity: int
    location_id: int


class ItemImport(Importer):
    columns: Mapping[str, Column] = {
        **columns_of(ItemCreate, "category_id", "location_id"),
        "category": TEXT,
        "location": TEXT,
    }
    ignored = frozenset(FIGURES)

    def __init__(self, session: AsyncSession, wanted: ImportQuery, caller: Principal, main_location: int) -> None:
        self._session = session
        self._wanted = wanted
        self._caller = caller
        self._main = main_location
        self._categories = Tree(session, caller, Category, create=wanted.create_missing)
        self._locations = LocationNames(session, caller, create=wanted.create_missing)
        self._seen, self._barcodes, self._ids = Seen(), Seen(), Ids()

    @property
    def categories_missing(self) -> int:
        return len(self._categories.missing)

    @property
    def locations_missing(self) -> int:
        return len(self._locations.tree.missing)

    async def understand(self, batch: Sequence[Line], errors: LineErrors) -> Sequence[ItemRow]:
        skus = {sku for line in batch if (sku := line.text("sku", MAX_SKU))}
        found = await repository.items_by_sku(self._session, skus, STORED_OF_ITEM)
        self._ids.add(item.id for item in found.values())
        barcodes = {barcode for line in batch if (barcode := line.text("barcode", _MAX_BARCODE))}
        taken = await repository.barcodes_taken(self._session, Item, barcodes) if barcodes else {}
        await self._categories.learn(path for line in batch if (path := path_or_none(line.values.get("category"))))
        await self._locations.learn(line.values.get("location") for line in batch)
        rows = (self._understood(line, found, taken, errors) for line in batch)
        return [row for row in rows if row is not None]

    async def prepare(self) -> None:
        await self._categories.create()
        await self._locations.tree.create()
        for ids in self._ids.in_order():
            await repository.lock_items(self._session, ids)
        await self._locations.keep()

    async def write(self, rows: Sequence[ItemRow]) -> None:
        ids = await self._add([row.values for row in rows if row.id is None])
        await self._change([row for row in rows if row.id is not None and row.values != row.before])
        received = [self._receipt(row.id or ids[row.values["sku"]], row) for row in rows if row.quantity]
        if received:
            await ledger.enter_many(self._session, received)
            await reservations.pass_on_many(self._session, sorted({entry.item_id for entry in received}))

    async def _add(self, new: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """The ids of the new items by SKU."""
        ids = await repository.add_items(self._session, STORED_OF_ITEM, new) if new else {}
        if len(ids) != len(new):
            raise changed_meanwhile("a SKU or a barcode was taken")
        made: list[Change] = [(ids[values["sku"]], None, values) for values in new]
        await audit.record_many(self._session, self._caller, "create", "item", made)
        return ids

    async def _change(self, rows: Sequence[ItemRow]) -> None:
        if rows:
            given = [{"id": row.id, **row.values} for row in rows]
            await repository.change_items(self._session, STORED_OF_ITEM, given)
            changes: list[Change] = [(row.id or 0, row.before, row.values) for row in rows]
            await audit.record_many(self._session, self._caller, "change", "item", changes)

    def _understood(
        self, line: Line, found: Mapping[str, Found], taken: Mapping[str, int], errors: LineErrors
    ) -> ItemRow | None:
        item = found.get(line.text("sku", MAX_SKU) or "")
        problems = self._problems(line, item, taken)
        values = dict(line.values)
        location_id = self._location(line.number, values.pop("location", None), problems)
        if "category" in values:
            values["category_id"] = self._category(line.number, values.pop("category"), problems)
        before = item.values if item else {}
        tracking = values.get("tracking", before.get("tracking", Tracking.QUANTITY))
        if values.get("quantity") and tracking in (Tracking.UNITS, Tracking.KIT):
            message = f"must be 0 or left out: the item is tracked by {tracking}"
            problems.append(LineError(line.number, "quantity", message))
            # That is said; the schema may go on with the rest.
            del values["quantity"]
        try:
            wanted = ItemCreate.model_validate({"quantity": 0, **before, **values})
        except ValidationError as error:
            errors.add(*problems, *line_errors(line.number, error, {"category_id": "category"}))
            return None
        if item and wanted.tracking != before["tracking"]:
            problems.append(LineError(line.number, "tracking", f"is {before['tracking']} already, and stays so"))
        errors.add(*problems)
        if problems:
            return None
        stored = wanted.model_dump(mode="json", include=set(STORED_OF_ITEM))
        return ItemRow(
            created=item is None,
            changed=stored != before or wanted.quantity > 0,
            id=item.id if item else None,
            before=item.values if item else None,
            values=stored,
            quantity=wanted.quantity,
            location_id=location_id,
        )

    def _problems(self, line: Line, item: Found | None, taken: Mapping[str, int]) -> list[LineError]:
        problems = []
        sku = line.text("sku", MAX_SKU)
        if sku and (first := self._seen.again(sku, line.number)):
            problems.append(LineError(line.number, "sku", f"is in line {first} already"))
        if item and self._wanted.mode is Mode.CREATE:
            problems.append(LineError(line.number, "sku", "is there already; mode=upsert changes it"))
        if item and item.archived:
            problems.append(LineError(line.number, "sku", "is archived"))
        barcode = line.text("barcode", _MAX_BARCODE)
        return problems + barcode_problems(line, barcode, taken, item.id if item else None, self._barcodes)

    def _category(self, line: int, text: Any, problems: list[LineError]) -> int | None:
        if text is None:
            return None
        try:
            return self._categories.want(read_path(text))
        except ValueError as error:
            problems.append(LineError(line, "category", str(error)))
            return None

    def _location(self, line: int, name: Any, problems: list[LineError]) -> int:
        """The location, or the first one where none is named."""
        try:
            return self._main if name is None else self._locations.want(name)
        except ValueError as error:
            problems.append(LineError(line, "location", str(error)))
            return self._main

    def _receipt(self, item_id: int, row: ItemRow) -> Entry:
        return Entry(
            item_id,
            row.location_id,
            EntryKind.RECEIVE,
            on_hand=row.quantity,
            actor_id=self._caller.id,
            reason=REASON,
        )
