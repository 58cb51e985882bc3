"""What kits are made of, from a file: a line is a part of a kit. Parts that no line names stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.audit.service import Change
from inventory_api.items.models import Tracking
from inventory_api.items.schemas import MAX_PARTS
from inventory_api.transfer import repository
from inventory_api.transfer.batch import Ids, Importer, Line, LineErrors, RowBase, Seen
from inventory_api.transfer.columns import Column, columns_of, line_errors
from inventory_api.transfer.formats import LineError
from inventory_api.transfer.items import MAX_SKU
from inventory_api.transfer.repository import Found
from inventory_api.transfer.schemas import ImportQuery, Mode, PartGiven
from inventory_api.users.permissions import Principal


@dataclass(frozen=True)
class PartRow(RowBase):
    kit_id: int
    item_id: int
    quantity: int
    before: Mapping[int, int]
    """How many of each item are in the kit now."""


@dataclass(frozen=True)
class _Known:
    items: Mapping[str, Found]
    parts: Mapping[int, Mapping[int, int]]
    """How many of each item are in a kit, by the kit's id."""
    in_use: frozenset[int]
    """Kits that are on loan or reserved."""


class PartImport(Importer):
    columns: Mapping[str, Column] = columns_of(PartGiven)

    def __init__(self, session: AsyncSession, wanted: ImportQuery, caller: Principal) -> None:
        self._session = session
        self._wanted = wanted
        self._caller = caller
        self._seen, self._ids = Seen(), Ids()
        self._in_kits: dict[int, set[int]] = {}

    async def understand(self, batch: Sequence[Line], errors: LineErrors) -> Sequence[PartRow]:
        skus = {sku for line in batch for name in ("kit", "sku") if (sku := line.text(name, MAX_SKU))}
        items = await repository.items_by_sku(self._session, skus, ("tracking",))
        self._ids.add(item.id for item in items.values())
        kits = {items[sku].id for line in batch if (sku := line.text("kit", MAX_SKU)) in items and sku}
        parts = await repository.kit_parts(self._session, kits) if kits else {}
        in_use = await repository.items_in_use(self._session, kits) if kits else frozenset()
        known = _Known(items, parts, in_use)
        rows = (self._understood(line, known, errors) for line in batch)
        return [row for row in rows if row is not None]

    async def prepare(self) -> None:
        for ids in self._ids.in_order():
            await repository.lock_items(self._session, ids)

    async def write(self, rows: Sequence[PartRow]) -> None:
        changed = [row for row in rows if row.changed]
        if not changed:
            return
        given = [{"kit_id": row.kit_id, "item_id": row.item_id, "quantity": row.quantity} for row in changed]
        await repository.set_kit_parts(self._session, given)
        before = {row.kit_id: dict(row.before) for row in changed}
        after = {kit_id: dict(parts) for kit_id, parts in before.items()}
        for row in changed:
            after[row.kit_id][row.item_id] = row.quantity
        await repository.change_items(self._session, (), [{"id": kit_id} for kit_id in sorted(before)])
        changes: list[Change] = [(kit_id, {"parts": before[kit_id]}, {"parts": after[kit_id]}) for kit_id in before]
        await audit.record_many(self._session, self._caller, "change", "item", changes)

    def _understood(self, line: Line, known: _Known, errors: LineErrors) -> PartRow | None:
        try:
            wanted = PartGiven.model_validate(dict(line.values))
        except ValidationError as error:
            errors.add(*line_errors(line.number, error, {}))
            return None
        kit, item = known.items.get(wanted.kit), known.items.get(wanted.sku)
        problems = _problems(line.number, kit, item)
        if problems or kit is None or item is None:
            errors.add(*problems)
            return None
        before = known.parts.get(kit.id, {})
        quantity = before.get(item.id)
        in_kit = self._in_kits.setdefault(kit.id, set())
        in_kit.update(before, [item.id])
        message = None
        if first := self._seen.again((kit.id, item.id), line.number):
            message = f"is in line {first} already, for the same kit"
        elif quantity not in (None, wanted.quantity) and self._wanted.mode is Mode.CREATE:
            message = "is in the kit already; mode=upsert changes how many"
        elif quantity != wanted.quantity and kit.id in known.in_use:
            message = "can't be changed: the kit is on loan or reserved"
        elif len(in_kit) > MAX_PARTS:
            message = f"is one more than the {MAX_PARTS} that a kit may be made of"
        if message:
            errors.add(LineError(line.number, "sku", message))
            return None
        return PartRow(
            created=quantity is None,
            changed=quantity != wanted.quantity,
            kit_id=kit.id,
            item_id=item.id,
            quantity=wanted.quantity,
            before=before,
        )


def _problems(line: int, kit: Found | None, item: Found | None) -> list[LineError]:
    problems = []
    for field, found in (("kit", kit), ("sku", item)):
        if found is None:
            problems.append(LineError(line, field, "There is no item with this SKU"))
        elif found.archived:
            problems.append(LineError(line, field, "is archived"))
    if kit and kit.values["tracking"] != Tracking.KIT:
        problems.append(LineError(line, "kit", f"is tracked by {kit.values['tracking']}: it is no kit"))
    if item and item.values["tracking"] == Tracking.KIT:
        problems.append(LineError(line, "sku", "is a kit, which can't be a part of another"))
    return problems
