from collections.abc import Sequence

from inventory_api.lookup import repository
from inventory_api.problems import not_found
from inventory_api.reads import ReadRow, Reads
from inventory_api.references import read_reference


async def by_code(reads: Reads, code: str) -> Sequence[ReadRow]:
    """What has this code, archived things too. Raises a 404 Problem where nothing has it."""
    reference = read_reference(code)
    found = await (repository.by_reference(reads, *reference) if reference else repository.by_code(reads, code))
    if not found:
        raise not_found("code")
    # A thing may have the code twice, as its barcode and as its SKU.
    things: dict[tuple[str, int], ReadRow] = {}
    for row in found:
        things.setdefault((row["kind"], row["id"]), row)
    return list(things.values())
