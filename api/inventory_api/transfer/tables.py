"""What an export of each kind has: its columns, its order, its filters, and the names in place of ids."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    and_,
    any_,
    case,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from inventory_api.categories.models import Category
from inventory_api.items.models import Item, KitPart
from inventory_api.ledger.models import StockEntry, StockLevel
from inventory_api.loans.models import Loan, LoanUnit
from inventory_api.locations.models import Location
from inventory_api.transfer.paths import join_path
from inventory_api.transfer.schemas import STORED_OF_ITEM, ExportKind
from inventory_api.units.models import Unit
from inventory_api.users.models import User

Names = Callable[[AsyncConnection, Collection[int]], Awaitable[Mapping[int, Any]]]
Filter = Callable[[Any], ColumnElement[bool]]


async def _paths(connection: AsyncConnection, ids: Collection[int], place: Any) -> dict[int, str]:
    """The paths of categories or locations by their ids."""
    climb = (
        select(place.id.label("leaf"), place.parent_id, place.name, literal(0, Integer).label("height"))
        .where(place.id == any_(literal(list(ids), ARRAY(BigInteger))))
        .cte("climb", recursive=True)
    )
    climb = climb.union_all(
        select(climb.c.leaf, place.parent_id, place.name, climb.c.height + 1).join(climb, place.id == climb.c.parent_id)
    )
    names: dict[int, list[str]] = {}
    for row in await connection.execute(select(climb.c.leaf, climb.c.name).order_by(climb.c.height.desc())):
        names.setdefault(row.leaf, []).append(row.name)
    return {leaf: join_path(path) for leaf, path in names.items()}


async def _category_paths(connection: AsyncConnection, ids: Collection[int]) -> Mapping[int, str]:
    return await _paths(connection, ids, Category)


async def _location_paths(connection: AsyncConnection, ids: Collection[int]) -> Mapping[int, str]:
    return await _paths(connection, ids, Location)


def _names(owner: Any, column: Any) -> Names:
    async def names(connection: AsyncConnection, ids: Collection[int]) -> dict[int, str]:
        statement = select(owner.id, column).where(owner.id == any_(literal(list(ids), ARRAY(BigInteger))))
        return {row.id: row[1] for row in await connection.execute(statement)}

    return names


async def _serials(connection: AsyncConnection, loan_ids: Collection[int]) -> Mapping[int, list[str]]:
    statement = (
        select(LoanUnit.loan_id, Unit.serial)
        .join(Unit, Unit.id == LoanUnit.unit_id)
        .where(LoanUnit.loan_id == any_(literal(list(loan_ids), ARRAY(BigInteger))))
        .order_by(LoanUnit.loan_id, LoanUnit.unit_id)
    )
    serials: dict[int, list[str]] = {loan_id: [] for loan_id in loan_ids}
    for loan_id, serial in await connection.execute(statement):
        serials[loan_id].append(serial)
    return serials


_sku = _names(Item, Item.sku)
_email = _names(User, User.email)
_serial = _names(Unit, Unit.serial)


@dataclass(frozen=True)
class Table:
    columns: Mapping[str, Any]
    order: tuple[Any, ...]
    names: Mapping[str, Names] = field(default_factory=dict)
    """Columns that are ids in the table, and what shows their names."""
    filters: Mapping[str, Filter] = field(default_factory=dict)
    always: tuple[ColumnElement[bool], ...] = ()

    def select(self, wanted: Mapping[str, Any]) -> Select[Any]:
        columns = [column.label(name) for name, column in self.columns.items()]
        statement = select(*columns).where(*self.always).order_by(*self.order)
        for name, value in wanted.items():
            statement = statement.where(self.filters[name](value))
        return statement


def _equals(column: Any) -> Filter:
    return lambda value: column == value


def _is(condition: ColumnElement[bool]) -> Filter:
    return lambda value: condition if value else not_(condition)


_item_columns = {
    "sku": Item.sku,
    **{"category" if name == "category_id" else name: getattr(Item, name) for name in STORED_OF_ITEM if name != "sku"},
}
_outstanding = case((Loan.returned_at.is_not(None), 0), else_=Loan.quantity - Loan.returned - Loan.lost)

TABLES: Mapping[ExportKind, Table] = {
    ExportKind.CATEGORIES: Table(columns={"path": Category.id}, order=(Category.id,), names={"path": _category_paths}),
    ExportKind.LOCATIONS: Table(
        columns={"path": Location.id, "barcode": Location.barcode, "count_every_days": Location.count_every_days},
        order=(Location.id,),
        names={"path": _location_paths},
        filters={"archived": _is(Location.archived_at.is_not(None))},
    ),
    ExportKind.ITEMS: Table(
        columns={
            **_item_columns,
            "owned": Item.quantity,
            "on_loan": Item.on_loan,
            "reserved": Item.reserved,
            "available": Item.quantity - Item.on_loan - Item.reserved,
        },
        order=(Item.id,),
        names={"category": _category_paths},
        filters={
            "archived": _is(Item.archived_at.is_not(None)),
            "category_id": _equals(Item.category_id),
            "tracking": _equals(Item.tracking),
        },
    ),
    ExportKind.KIT_PARTS: Table(
        columns={"kit": KitPart.kit_id, "sku": KitPart.item_id, "quantity": KitPart.quantity},
        order=(KitPart.kit_id, KitPart.item_id),
        names={"kit": _sku, "sku": _sku},
    ),
    ExportKind.UNITS: Table(
        columns={
            "sku": Unit.item_id,
            "serial": Unit.serial,
            "barcode": Unit.barcode,
            "state": Unit.state,
            "condition": Unit.condition,
            "location": Unit.location_id,
            "on_loan": Unit.loan_id.is_not(None),
        },
        order=(Unit.id,),
        names={"sku": _sku, "location": _location_paths},
        filters={
            "item_id": _equals(Unit.item_id),
            "location_id": _equals(Unit.location_id),
            "state": _equals(Unit.state),
            "on_loan": _is(Unit.loan_id.is_not(None)),
        },
    ),
    ExportKind.STOCK_LEVELS: Table(
        columns={
            "sku": StockLevel.item_id,
            "location": StockLevel.location_id,
            "on_hand": StockLevel.on_hand,
            "on_loan": StockLevel.on_loan,
            "reserved": StockLevel.reserved,
            "available": StockLevel.on_hand - StockLevel.reserved,
        },
        order=(StockLevel.item_id, StockLevel.location_id),
        names={"sku": _sku, "location": _location_paths},
        filters={"item_id": _equals(StockLevel.item_id), "location_id": _equals(StockLevel.location_id)},
        always=(or_(StockLevel.on_hand > 0, StockLevel.on_loan > 0),),
    ),
    ExportKind.STOCK_ENTRIES: Table(
        columns={
            "id": StockEntry.id,
            "at": StockEntry.at,
            "kind": StockEntry.kind,
            "sku": StockEntry.item_id,
            "location": StockEntry.location_id,
            "serial": StockEntry.unit_id,
            "on_hand": StockEntry.on_hand,
            "on_loan": StockEntry.on_loan,
            "reserved": StockEntry.reserved,
            "loan_id": StockEntry.loan_id,
            "actor": StockEntry.actor_id,
            "reason": StockEntry.reason,
        },
        order=(StockEntry.id,),
        names={"sku": _sku, "location": _location_paths, "serial": _serial, "actor": _email},
        filters={
            "item_id": _equals(StockEntry.item_id),
            "location_id": _equals(StockEntry.location_id),
            "unit_id": _equals(StockEntry.unit_id),
            "loan_id": _equals(StockEntry.loan_id),
            "entry_kind": _equals(StockEntry.kind),
        },
    ),
    ExportKind.LOANS: Table(
        columns={
            "id": Loan.id,
            "sku": Loan.item_id,
            "serials": Loan.id,
            "borrower": Loan.user_id,
            "quantity": Loan.quantity,
            "returned": Loan.returned,
            "lost": Loan.lost,
            "outstanding": _outstanding,
            "lent_by": Loan.lent_by,
            "lent_at": Loan.lent_at,
            "due_at": Loan.due_at,
            "returned_at": Loan.returned_at,
            "renewals": Loan.renewals,
            "location": Loan.location_id,
            "kit_loan_id": Loan.kit_loan_id,
            "note": Loan.note,
        },
        order=(Loan.id,),
        names={
            "sku": _sku,
            "serials": _serials,
            "borrower": _email,
            "lent_by": _email,
            "location": _location_paths,
        },
        filters={
            "item_id": _equals(Loan.item_id),
            "user_id": _equals(Loan.user_id),
            "open": _is(Loan.returned_at.is_(None)),
            "overdue": _is(and_(Loan.returned_at.is_(None), Loan.due_at < func.now())),
        },
    ),
    ExportKind.USERS: Table(
        columns={
            "id": User.id,
            "email": User.email,
            "name": User.name,
            "role": User.role,
            "active": User.active,
            "created_at": User.created_at,
        },
        order=(User.id,),
    ),
}
