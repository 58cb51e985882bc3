"""Many rows in one statement: what an import looks up and writes, and an export reads, a batch at a time."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    FromClause,
    Integer,
    Text,
    and_,
    any_,
    column,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from inventory_api.categories.models import Category
from inventory_api.items.models import Item, KitPart
from inventory_api.ledger.models import StockLevel
from inventory_api.loans.models import Loan
from inventory_api.locations.models import Location
from inventory_api.reservations.models import ACTIVE, Reservation
from inventory_api.transfer.tables import Names, Table
from inventory_api.units.models import Unit
from inventory_api.users.models import User

Place = type[Category] | type[Location]
_ONE_IMPORT_LOCK = "import"
_ROWS_AT_A_TIME = 1000


@dataclass(frozen=True)
class Found:
    """A row that is there already. `values` are those of its columns that an import may change."""

    id: int
    values: dict[str, Any]
    archived: bool = False
    on_loan: bool = False


async def begin_import(session: AsyncSession) -> bool:
    """Keeps all other imports out until the transaction ends; False while another one is under way."""
    lock = func.pg_try_advisory_xact_lock(func.hashtextextended(_ONE_IMPORT_LOCK, 0))
    return bool(await session.scalar(select(lock)))


@asynccontextmanager
async def planned_anew(session: AsyncSession) -> AsyncIterator[None]:
    """Plans each statement within for its own values, and for tables as large as they are by then.

    A plan from when a table was empty goes through all of it, with each batch, while the import fills it. What writes
    is not to be within: its triggers would be planned anew for each row.
    """
    await session.execute(_plan_cache_mode("force_custom_plan"))
    yield
    await session.execute(_plan_cache_mode("auto"))


async def keep_locations(session: AsyncSession, ids: Iterable[int]) -> None:
    """Nobody archives or removes these locations until the transaction ends."""
    kept = select(Location.id).where(_in(Location.id, ids, BigInteger())).order_by(Location.id)
    await session.execute(kept.with_for_update(read=True, key_share=True))


async def children(
    session: AsyncSession, place: Place, wanted: Collection[tuple[int, str]]
) -> dict[tuple[int, str], Found]:
    """Those of the places, each given as its parent's id, 0 for a root, and its name, that are there."""
    given = _given({"parent": BigInteger, "name": Text}, [{"parent": parent, "name": name} for parent, name in wanted])
    parent = func.coalesce(place.parent_id, 0)
    statement = select(*_place_columns(place), parent.label("parent")).join(
        given, and_(parent == given.c.parent, place.name == given.c.name)
    )
    return {(row.parent, row.name): _found_place(row) for row in await session.execute(statement)}


async def add_children(
    session: AsyncSession, place: Place, wanted: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    """The ids of those that are new. In the order of parent and name, for others add some too."""
    rows = [{"parent_id": parent or None, "name": name} for parent, name in sorted(wanted)]
    given = _given({"parent_id": BigInteger, "name": Text}, rows)
    statement = (
        insert(place)
        .from_select(["parent_id", "name"], select(given.c.parent_id, given.c.name))
        .on_conflict_do_nothing()
        .returning(place.id, func.coalesce(place.parent_id, 0).label("parent"), place.name)
    )
    return {(row.parent, row.name): row.id for row in await session.execute(statement)}


async def locations_by_barcode(session: AsyncSession, barcodes: Iterable[str]) -> dict[str, Found]:
    statement = select(*_place_columns(Location)).where(_in(Location.barcode, barcodes, Text()))
    return {row.barcode: _found_place(row) for row in await session.execute(statement)}


async def locations_by_id(session: AsyncSession, ids: Iterable[int]) -> dict[int, Found]:
    statement = select(*_place_columns(Location)).where(_in(Location.id, ids, BigInteger()))
    return {row.id: _found_place(row) for row in await session.execute(statement)}


async def change_locations(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises IntegrityError where a barcode is taken."""
    await _change(session, Location, ("barcode", "count_every_days"), rows)


async def items_by_sku(session: AsyncSession, skus: Iterable[str], names: Sequence[str]) -> dict[str, Found]:
    """`names` are the columns that are wanted as values."""
    statement = select(
        Item.id, Item.archived_at, Item.sku.label("key"), *(getattr(Item, name) for name in names)
    ).where(_in(Item.sku, skus, Text()))
    return {
        row.key: Found(row.id, {name: getattr(row, name) for name in names}, archived=row.archived_at is not None)
        for row in await session.execute(statement)
    }


async def barcodes_taken(
    session: AsyncSession, owner: type[Item] | type[Unit] | type[Location], barcodes: Iterable[str]
) -> dict[str, int]:
    """Whose id has which of the barcodes."""
    statement = select(owner.barcode, owner.id).where(_in(owner.barcode, barcodes, Text()))
    return {barcode: identifier for barcode, identifier in await session.execute(statement) if barcode is not None}


async def lock_items(session: AsyncSession, ids: Iterable[int]) -> None:
    """Nobody else changes, moves or lends these items until the transaction ends.

    In the order of their ids: see `items.repository.lock`, which this is without the rows.
    """
    locked = select(Item.id).where(_in(Item.id, ids, BigInteger())).order_by(Item.id).with_for_update(key_share=True)
    await session.execute(locked)


async def add_items(session: AsyncSession, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The ids of the new items by SKU; one whose SKU or barcode is taken is not among them."""
    given = _given_of(Item, names, rows)
    statement = (
        insert(Item)
        .from_select([*names, "quantity"], select(*(given.c[name] for name in names), literal(0, Integer)))
        .on_conflict_do_nothing()
        .returning(Item.sku, Item.id)
    )
    return {row.sku: row.id for row in await session.execute(statement)}


async def change_items(session: AsyncSession, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises IntegrityError where a barcode is taken."""
    await _change(session, Item, names, rows)


async def kit_parts(session: AsyncSession, kit_ids: Iterable[int]) -> dict[int, dict[int, int]]:
    """How many of each item are in each of the kits."""
    statement = select(KitPart.kit_id, KitPart.item_id, KitPart.quantity)
    parts: dict[int, dict[int, int]] = {}
    for row in await session.execute(statement.where(_in(KitPart.kit_id, kit_ids, BigInteger()))):
        parts.setdefault(row.kit_id, {})[row.item_id] = row.quantity
    return parts


async def items_in_use(session: AsyncSession, item_ids: Collection[int]) -> frozenset[int]:
    """Those of the items that are on loan or reserved."""
    lent = select(Loan.item_id).where(_in(Loan.item_id, item_ids, BigInteger()), Loan.returned_at.is_(None))
    reserved = select(Reservation.item_id).where(
        _in(Reservation.item_id, item_ids, BigInteger()), Reservation.status.in_(ACTIVE)
    )
    return frozenset((await session.scalars(lent.union(reserved))).all())


async def set_kit_parts(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Puts so many of an item into a kit, whatever is in there now."""
    names = ["kit_id", "item_id", "quantity"]
    given = _given_of(KitPart, names, rows)
    statement = insert(KitPart).from_select(names, select(*(given.c[name] for name in names)))
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[KitPart.kit_id, KitPart.item_id], set_={"quantity": statement.excluded.quantity}
        )
    )


async def units_by_serial(
    session: AsyncSession, wanted: Collection[tuple[int, str]], names: Sequence[str]
) -> dict[tuple[int, str], Found]:
    """Units by their item's id and their serial number; `names` are the columns that are wanted as values."""
    given = _given({"item": BigInteger, "serial": Text}, [{"item": item, "serial": serial} for item, serial in wanted])
    statement = select(Unit.id, Unit.item_id, Unit.loan_id, *(getattr(Unit, name) for name in names)).join(
        given, and_(Unit.item_id == given.c.item, Unit.serial == given.c.serial)
    )
    return {
        (row.item_id, row.serial): Found(
            row.id, {name: getattr(row, name) for name in names}, on_loan=row.loan_id is not None
        )
        for row in await session.execute(statement)
    }


async def add_units(
    session: AsyncSession, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> dict[tuple[int, str], int]:
    """The ids of the new units by item and serial; one whose serial or barcode is taken is not among them."""
    columns = ("item_id", *names)
    given = _given_of(Unit, columns, rows)
    statement = (
        insert(Unit)
        .from_select(list(columns), select(*(given.c[name] for name in columns)))
        .on_conflict_do_nothing()
        .returning(Unit.item_id, Unit.serial, Unit.id)
    )
    return {(row.item_id, row.serial): row.id for row in await session.execute(statement)}


async def change_units(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises IntegrityError where a barcode is taken."""
    await _change(session, Unit, ("barcode", "condition"), rows)


async def users_by_email(session: AsyncSession, emails: Iterable[str], names: Sequence[str]) -> dict[str, Found]:
    """`names` are the columns that are wanted as values."""
    columns = (getattr(User, name) for name in names)
    statement = select(User.id, User.email.label("key"), *columns).where(_in(User.email, emails, Text()))
    return {
        row.key: Found(row.id, {name: getattr(row, name) for name in names}) for row in await session.execute(statement)
    }


async def lock_users(session: AsyncSession, ids: Iterable[int]) -> None:
    """Nobody else changes these users until the transaction ends."""
    locked = select(User.id).where(_in(User.id, ids, BigInteger())).order_by(User.id).with_for_update(key_share=True)
    await session.execute(locked)


async def add_users(session: AsyncSession, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The ids of the new users by address; one whose address is taken is not among them."""
    given = _given_of(User, names, rows)
    statement = (
        insert(User)
        .from_select(list(names), select(*(given.c[name] for name in names)))
        .on_conflict_do_nothing()
        .returning(User.email, User.id)
    )
    return {row.email: row.id for row in await session.execute(statement)}


async def change_users(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    await _change(session, User, ("name",), rows)


async def levels(session: AsyncSession, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int]]:
    """What is on hand, and what of that is reserved, by item and location."""
    given = _given(
        {"item": BigInteger, "location": BigInteger}, [{"item": item, "location": place} for item, place in wanted]
    )
    statement = select(StockLevel.item_id, StockLevel.location_id, StockLevel.on_hand, StockLevel.reserved).join(
        given, and_(StockLevel.item_id == given.c.item, StockLevel.location_id == given.c.location)
    )
    return {(row.item_id, row.location_id): (row.on_hand, row.reserved) for row in await session.execute(statement)}


def _place_columns(place: Place) -> list[Any]:
    if place is Location:
        return [Location.id, Location.name, Location.archived_at, Location.barcode, Location.count_every_days]
    return [Category.id, Category.name]


def _found_place(row: Any) -> Found:
    shown = row._mapping
    values = {name: shown[name] for name in ("barcode", "count_every_days") if name in shown}
    return Found(row.id, values, archived=shown.get("archived_at") is not None)


async def _change(
    session: AsyncSession,
    changed: type[Item] | type[Unit] | type[Location] | type[User],
    names: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    given = _given_of(changed, ("id", *names), rows)
    await session.execute(
        update(changed)
        .where(changed.id == given.c.id)
        .values({name: given.c[name] for name in names})
        .values(version=changed.version + 1, updated_at=func.now())
        .execution_options(synchronize_session=False)
    )


def _given_of(owner: Any, names: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> FromClause:
    return _given({name: owner.__table__.c[name].type for name in names}, rows)


def _given(types: dict[str, Any], rows: Sequence[Mapping[str, Any]]) -> FromClause:
    """The rows as a table. One parameter has all of them: the statement is the same for any number."""
    columns = [column(name, kind) for name, kind in types.items()]
    return func.jsonb_to_recordset(literal(rows, JSONB)).table_valued(*columns).render_derived("given", with_types=True)


def _in(wanted: InstrumentedAttribute[Any], values: Iterable[Any], kind: Any) -> Any:
    return wanted == any_(literal(list(values), ARRAY(kind)))


def _plan_cache_mode(mode: str) -> Any:
    return select(func.set_config("plan_cache_mode", mode, True))


async def table_rows(
    connection: AsyncConnection, table: Table, wanted: Mapping[str, Any]
) -> AsyncIterator[Sequence[Sequence[Any]]]:
    """All rows of a table, a few hundred at a time, with names in place of ids. The server keeps the rest."""
    columns = list(table.columns)
    result = await connection.stream(table.select(wanted), execution_options={"yield_per": _ROWS_AT_A_TIME})
    async for part in result.partitions():
        rows = [list(row) for row in part]
        for name, names in table.names.items():
            await _show_names(connection, rows, columns.index(name), names)
        yield rows


async def _show_names(connection: AsyncConnection, rows: Sequence[list[Any]], index: int, names: Names) -> None:
    ids = {row[index] for row in rows} - {None}
    shown = await names(connection, ids) if ids else {}
    for row in rows:
        row[index] = shown.get(row[index])
