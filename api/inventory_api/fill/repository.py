"""What fills a database: each statement makes a batch, all at once.

What is random in it comes from hashes of a row's number and the seed, so the same seed makes the same rows. Items are
found again by their barcodes and people by their addresses, which say their numbers. Stock goes through the ledger,
whose trigger keeps every figure.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.fill.words import FAMILY_NAMES, GIVEN_NAMES, HALLS, MAKERS, ROWS, SHELVES, Design

STAFF_EVERY = 50
"""Of so many people, the first is staff."""
# Each has a hash of its own, or what an item is would tell where it is.
_PURPOSES = (
    *("design", "maker", "tracking", "units", "stock", "shelf", "minimum", "value", "serial", "age"),
    *("given", "family", "joined"),
    *("item", "borrower", "lender", "hour", "planned", "late", "kept", "quantity", "due"),
)
_PEOPLES_NAMES: dict[str, Any] = {"given": list(GIVEN_NAMES), "family": list(FAMILY_NAMES)}


def _number(name: str) -> str:
    return f"CAST(:{name} AS bigint)"


def _random(purpose: str, below: str) -> str:
    """From 0 to below, for the row's n."""
    seed = f"{_number('seed')} * {len(_PURPOSES)} + {_PURPOSES.index(purpose)}"
    return f"(hashint8extended(n, {seed}) & {2**63 - 1}) % ({below})"


def _pick(purpose: str, values: str, kind: str = "text") -> str:
    array = f"CAST(:{values} AS {kind}[])"
    return f"({array})[1 + {_random(purpose, f'cardinality({array})')}]"


def _barcode(of: str) -> str:
    # Those that begin with 2 are for use within a house.
    return f"'2' || lpad({_number('seed')}::text, 4, '0') || lpad(({of})::text, 8, '0')"


_MARK = f"CASE {_number('seed')} WHEN 0 THEN '' ELSE {_number('seed')} || '-' END"
_TODAY = "CAST(:today AS timestamptz)"
_NUMBERS = f"generate_series({_number('first')}, {_number('last')}) AS n"
_NAMES = f"{_pick('given', 'given')} AS given, {_pick('family', 'family')} AS family"
_ADDRESS = f"lower(given || '.' || family) || '.' || {_MARK} || n || '@example.com'"

_ADD_SITE = text(
    """
    WITH site AS (
        INSERT INTO locations (name) VALUES (CAST(:name AS text)) RETURNING id
    ), halls AS (
        INSERT INTO locations (parent_id, name)
        SELECT id, 'Hall ' || n FROM site, generate_series(1, CAST(:halls AS integer)) AS n ORDER BY n RETURNING id
    ), rows AS (
        INSERT INTO locations (parent_id, name)
        SELECT id, 'Row ' || n FROM halls, generate_series(1, CAST(:rows AS integer)) AS n ORDER BY id, n RETURNING id
    ), shelves AS (
        INSERT INTO locations (parent_id, name)
        SELECT id, 'Shelf ' || n FROM rows, generate_series(1, CAST(:shelves AS integer)) AS n ORDER BY id, n
        RETURNING id
    )
    SELECT id FROM shelves ORDER BY id
    """
)
_ADD_BRANCHES = text(
    "INSERT INTO categories (name) SELECT DISTINCT unnest(CAST(:branches AS text[])) ORDER BY 1 ON CONFLICT DO NOTHING"
)
_ADD_CATEGORIES = text(
    """
    INSERT INTO categories (parent_id, name)
    SELECT DISTINCT categories.id, wanted.name
    FROM unnest(CAST(:branches AS text[]), CAST(:names AS text[])) AS wanted (branch, name)
    JOIN categories ON categories.name = wanted.branch AND categories.parent_id IS NULL
    ORDER BY 1, 2 ON CONFLICT DO NOTHING
    """
)
_CATEGORIES = text(
    """
    SELECT categories.id
    FROM unnest(CAST(:branches AS text[]), CAST(:names AS text[])) WITH ORDINALITY AS wanted (branch, name, place)
    JOIN categories AS above ON above.name = wanted.branch AND above.parent_id IS NULL
    JOIN categories ON categories.parent_id = above.id AND categories.name = wanted.name
    ORDER BY wanted.place
    """
)
_ADD_PEOPLE = text(
    f"""
    INSERT INTO users (email, name, role, password_hash, created_at, updated_at)
    SELECT
        {_ADDRESS}, given || ' ' || family, CASE WHEN n % {STAFF_EVERY} = 1 THEN 'staff' ELSE 'member' END,
        CAST(:password_hash AS text), joined, joined
    FROM (
        SELECT n, {_NAMES}, {_TODAY} - interval '750 days' - {_random("joined", "1000")} * interval '1 day' AS joined
        FROM {_NUMBERS}
    ) AS people
    ORDER BY n
    """
)
_ADD_ITEMS = text(
    f"""
    WITH designs AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:names AS text[]), CAST(:codes AS text[]), CAST(:category_ids AS bigint[]), CAST(:cents AS bigint[])
        ) WITH ORDINALITY AS designs (name, code, category_id, cents, place)
    ), numbered AS MATERIALIZED (
        SELECT n, nextval('items_id_seq') AS id FROM {_NUMBERS}
    ), dated AS (
        SELECT
            n, id, {_random("tracking", "100")} < {_number("units")} AS in_units,
            {_pick("shelf", "shelf_ids", "bigint")} AS shelf_id,
            {_TODAY} - interval '735 days' - {_random("age", "525600")} * interval '1 minute' AS since
        FROM numbered
    ), drawn AS MATERIALIZED (
        SELECT *, CASE
            WHEN in_units THEN 1 + {_random("units", "5")}
            ELSE coalesce({_number("stock")}, 1 + {_random("stock", "40")})
        END AS quantity
        FROM dated
    ), added AS (
        INSERT INTO items (
            id, name, sku, quantity, category_id, tracking, barcode, attributes, minimum_stock, unit_value_cents,
            created_at, updated_at
        )
        SELECT
            id, name || ' ' || {_pick("maker", "makers")},
            code || '-' || {_MARK} || lpad(n::text, greatest(7, length(n::text)), '0'), 0, category_id,
            CASE WHEN in_units THEN 'units' ELSE 'quantity' END, {_barcode("n")},
            jsonb_build_object('maker', {_pick("maker", "makers")}, 'bought', extract(year FROM since)),
            CASE
                WHEN {_random("minimum", "100")} < 2 THEN least(quantity + 2, 1000000)
                WHEN {_random("minimum", "100")} < 20 THEN 1
                ELSE 0
            END,
            cents * (50 + {_random("value", "100")}) / 100, since, since
        FROM drawn JOIN designs ON place = 1 + {_random("design", "cardinality(CAST(:codes AS text[]))")}
        ORDER BY n
    ), pieces AS MATERIALIZED (
        SELECT drawn.*, nextval('units_id_seq') AS unit_id, piece
        FROM drawn, generate_series(1, quantity) AS piece
        WHERE in_units
    ), added_units AS (
        INSERT INTO units (id, item_id, serial, location_id, created_at, updated_at)
        SELECT
            unit_id, id, upper(lpad(to_hex({_random("serial", str(2**32))}), 8, '0')) || '-' || piece, shelf_id,
            since, since
        FROM pieces
    ), entered AS (
        INSERT INTO stock_entries (item_id, location_id, unit_id, kind, on_hand, actor_id, at)
        SELECT id, shelf_id, unit_id, 'receive', pieces, {_number("actor_id")}, since
        FROM (
            SELECT id, shelf_id, NULL, quantity, since FROM drawn WHERE NOT in_units
            UNION ALL
            SELECT id, shelf_id, unit_id, 1, since FROM pieces
        ) AS received (id, shelf_id, unit_id, pieces, since)
        ORDER BY id, unit_id
    )
    SELECT count(*) FROM pieces
    """
)


def _person(chosen: str) -> str:
    """The id of the person with this number."""
    return f"""(
        SELECT users.id FROM (SELECT n, {_NAMES} FROM (SELECT {chosen} AS n) AS one) AS person
        JOIN users ON users.email = {_ADDRESS}
    )"""


# After `dated`, which says for each row which item is lent from when to when.
_LEND = f"""
    chosen AS (
        SELECT
            *, 1 + {_random("borrower", _number("people"))} AS borrower,
            1 + {STAFF_EVERY} * ({_random("lender", _number("staff"))}) AS lender
        FROM dated
    ), drawn AS MATERIALIZED (
        SELECT
            chosen.*, nextval('loans_id_seq') AS id, items.id AS item_id, shelf.location_id, piece.id AS unit_id,
            CASE WHEN piece.id IS NULL THEN least(1 + {_random("quantity", "3")}, shelf.free) ELSE 1 END AS quantity,
            {_person("borrower")} AS borrower_id, {_person("lender")} AS lender_id
        FROM chosen
        JOIN items ON items.barcode = {_barcode("item")}
        JOIN LATERAL (
            SELECT location_id, on_hand - reserved AS free FROM stock_levels
            WHERE item_id = items.id ORDER BY on_hand - reserved DESC, location_id LIMIT 1
        ) AS shelf ON shelf.free > 0
        LEFT JOIN LATERAL (
            SELECT id FROM units
            WHERE item_id = items.id AND location_id = shelf.location_id AND loan_id IS NULL AND state = 'lendable'
            ORDER BY serial LIMIT 1
        ) AS piece ON items.tracking = 'units'
        WHERE items.tracking = 'quantity' OR piece.id IS NOT NULL
        ORDER BY n
    ), lent AS (
        INSERT INTO loans (
            id, item_id, user_id, quantity, lent_by, lent_at, due_at, location_id, returned, returned_at
        )
        SELECT
            id, item_id, borrower_id, quantity, lender_id, lent_at, due_at, location_id,
            CASE WHEN returned_at IS NULL THEN 0 ELSE quantity END, returned_at
        FROM drawn ORDER BY id
    ), lent_units AS (
        INSERT INTO loan_units (loan_id, unit_id, returned_at)
        SELECT id, unit_id, returned_at FROM drawn WHERE unit_id IS NOT NULL ORDER BY id
    ), units_out AS (
        UPDATE units SET loan_id = drawn.id, version = version + 1, updated_at = lent_at
        FROM drawn WHERE units.id = unit_id AND returned_at IS NULL
    ), entered AS (
        -- What comes back is entered right after it went, so that no loan takes what another one has.
        INSERT INTO stock_entries (item_id, location_id, unit_id, kind, on_hand, on_loan, loan_id, actor_id, at)
        SELECT item_id, location_id, unit_id, kind, -taken * quantity, taken * quantity, id, lender_id, at
        FROM drawn, LATERAL (VALUES ('loan', 1, lent_at), ('return', -1, returned_at)) AS changes (kind, taken, at)
        WHERE at IS NOT NULL
        ORDER BY id, taken DESC
    )
    SELECT count(*) FROM drawn
"""
_HOUR = f"(480 + {_random('hour', '600')}) * interval '1 minute'"
_ADD_RETURNED_LOANS = text(
    f"""
    WITH planned AS (
        SELECT
            n, 1 + {_random("item", _number("items"))} AS item, 1 + {_random("planned", "28")} AS days,
            {_TODAY} - (({_number("loans")} - n) * 729 / {_number("loans")} + 1) * interval '1 day' + {_HOUR} AS lent_at
        FROM {_NUMBERS}
    ), dated AS (
        SELECT n, item, lent_at, lent_at + days * interval '1 day' AS due_at,
            least({_TODAY}, lent_at + interval '1 minute' * CASE
                WHEN {_random("late", "100")} < 15 THEN days * 1440 + {_random("kept", "20160")}
                ELSE {_random("kept", "days * 1440")}
            END) AS returned_at
        FROM planned
    ),
    {_LEND}
    """
)
# Each is of another item, of which one at least is there.
_ADD_OPEN_LOANS = text(
    f"""
    WITH planned AS (
        SELECT
            n, (n - 1) * {_number("stride")} + 1 + {_random("item", _number("stride"))} AS item,
            n <= {_number("overdue")} AS is_late
        FROM {_NUMBERS}
    ), dated AS (
        SELECT
            n, item, CAST(NULL AS timestamptz) AS returned_at,
            {_TODAY} + {_HOUR}
                - CASE WHEN is_late THEN 62 + {_random("planned", "28")} ELSE 1 + {_random("planned", "14")} END
                    * interval '1 day' AS lent_at,
            {_TODAY} + interval '18 hours'
                + CASE WHEN is_late THEN -1 - {_random("due", "60")} ELSE 1 + {_random("due", "28")} END
                    * interval '1 day' AS due_at
        FROM planned
    ),
    {_LEND}
    """
)
_IS_THERE = text(
    f"""
    SELECT EXISTS (SELECT FROM locations WHERE parent_id IS NULL AND name = CAST(:site AS text))
        OR EXISTS (SELECT FROM items WHERE barcode = {_barcode("1")})
    """
)
_FIRST_PERSON = text(f"SELECT {_person('CAST(1 AS bigint)')}")


async def is_there(session: AsyncSession, seed: int) -> bool:
    """Whether what this seed makes, or a part of it, has been made already."""
    return bool(await session.scalar(_IS_THERE, {"seed": seed, "site": _site(seed)}))


async def add_site(session: AsyncSession, seed: int) -> list[int]:
    """The ids of the new site's shelves. Raises IntegrityError if there is one of this seed."""
    given = {"name": _site(seed), "halls": HALLS, "rows": ROWS, "shelves": SHELVES}
    return list(await session.scalars(_ADD_SITE, given))


async def add_categories(session: AsyncSession, designs: Sequence[Design]) -> list[int]:
    """The id of the category of each design; those that are there already are left as they are."""
    given = {"branches": [design.branch for design in designs], "names": [design.category for design in designs]}
    await session.execute(_ADD_BRANCHES, {"branches": given["branches"]})
    await session.execute(_ADD_CATEGORIES, given)
    return list(await session.scalars(_CATEGORIES, given))


async def add_people(session: AsyncSession, rows: range, *, seed: int, today: datetime, password_hash: str) -> int:
    """How many there are now. Raises IntegrityError if somebody has one of the addresses."""
    await session.execute(_ADD_PEOPLE, {**_given(rows, seed, today), "password_hash": password_hash})
    return len(rows)


async def first_person(session: AsyncSession, seed: int) -> int | None:
    """The id of the first, who is staff; None if there are no people of this seed."""
    found: int | None = await session.scalar(_FIRST_PERSON, {"seed": seed, **_PEOPLES_NAMES})
    return found


async def add_items(session: AsyncSession, rows: range, *, seed: int, today: datetime, **more: Any) -> int:
    """How many units they have. Raises IntegrityError if an SKU or a barcode is taken."""
    return int(await session.scalar(_ADD_ITEMS, {**_given(rows, seed, today), "makers": list(MAKERS), **more}) or 0)


async def add_returned_loans(session: AsyncSession, rows: range, *, seed: int, today: datetime, **more: int) -> int:
    """How many are added, from the oldest to the newest."""
    return int(await session.scalar(_ADD_RETURNED_LOANS, {**_given(rows, seed, today), **more}) or 0)


async def add_open_loans(session: AsyncSession, rows: range, *, seed: int, today: datetime, **more: int) -> int:
    """How many are added; those up to the number `overdue` are."""
    return int(await session.scalar(_ADD_OPEN_LOANS, {**_given(rows, seed, today), **more}) or 0)


def _site(seed: int) -> str:
    return f"Site {seed}"


def _given(rows: range, seed: int, today: datetime) -> dict[str, Any]:
    return {"first": rows[0], "last": rows[-1], "seed": seed, "today": today, **_PEOPLES_NAMES}
