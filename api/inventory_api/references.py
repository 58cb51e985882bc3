"""Names that stay: `inv:item:12` is what a label says of a thing that has no barcode, and what a scan of it gives."""

import re
from typing import Final, Literal

from inventory_api.fields import MAX_ID

Kind = Literal["item", "unit", "location"]
_KINDS: Final[dict[str, Kind]] = {"item": "item", "unit": "unit", "location": "location"}
_REFERENCE = re.compile(r"inv:(item|unit|location):([1-9][0-9]{0,18})", re.ASCII | re.IGNORECASE)


def reference(kind: Kind, identifier: int) -> str:
    return f"inv:{kind}:{identifier}"


def read_reference(text: str) -> tuple[Kind, int] | None:
    """Kind and id, or None where the text is no such name. Scanners may write letters as they like."""
    found = _REFERENCE.fullmatch(text.strip())
    if found is None or int(found[2]) > MAX_ID:
        return None
    return _KINDS[found[1].lower()], int(found[2])
