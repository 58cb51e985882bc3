from collections.abc import Sequence

from sqlalchemy import text

from inventory_api.reads import ReadRow, Reads, Statement

# A serial number is unique within its item alone.
_MOST = 20

# A barcode comes before a SKU, and that before a serial number.
_BY_CODE = Statement(
    text(
        f"""
        SELECT 'item' AS kind, id, id AS item_id, name, 'barcode' AS by, archived_at IS NOT NULL AS archived
        FROM items WHERE barcode = :code
        UNION ALL
        SELECT 'unit', units.id, item_id, name, 'barcode', archived_at IS NOT NULL
        FROM units JOIN items ON items.id = item_id WHERE units.barcode = :code
        UNION ALL
        SELECT 'location', id, NULL, name, 'barcode', archived_at IS NOT NULL FROM locations WHERE barcode = :code
        UNION ALL
        SELECT 'item', id, id, name, 'sku', archived_at IS NOT NULL FROM items WHERE lower(sku) = lower(:code)
        UNION ALL
        (SELECT 'unit', units.id, item_id, name, 'serial', archived_at IS NOT NULL
        FROM units JOIN items ON items.id = item_id WHERE lower(serial) = lower(:code) LIMIT {_MOST})
        """  # noqa: S608 - a constant
    )
)
_BY_REFERENCE = Statement(
    text(
        """
        SELECT 'item' AS kind, id, id AS item_id, name, 'reference' AS by, archived_at IS NOT NULL AS archived
        FROM items WHERE :kind = 'item' AND id = :id
        UNION ALL
        SELECT 'unit', units.id, item_id, name, 'reference', archived_at IS NOT NULL
        FROM units JOIN items ON items.id = item_id WHERE :kind = 'unit' AND units.id = :id
        UNION ALL
        SELECT 'location', id, NULL, name, 'reference', archived_at IS NOT NULL
        FROM locations WHERE :kind = 'location' AND id = :id
        """
    )
)


async def by_code(reads: Reads, code: str) -> Sequence[ReadRow]:
    return await reads.rows(_BY_CODE, code=code)


async def by_reference(reads: Reads, kind: str, identifier: int) -> Sequence[ReadRow]:
    return await reads.rows(_BY_REFERENCE, kind=kind, id=identifier)
