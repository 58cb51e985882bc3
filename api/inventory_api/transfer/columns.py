"""The columns of a kind, from the schemas that the API validates the same things with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from inventory_api.transfer.formats import LineError, read_json

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True)
class Column:
    type: str
    """As JSON Schema calls it."""
    empty: Any = PydanticUndefined
    """What an empty cell says; undefined if the cell must not be empty."""

    def value(self, cell: str) -> Any:
        """What a cell says; a text that isn't of the type stays one, which the schema then refuses."""
        if self.type == "integer":
            return int(cell) if _INTEGER.fullmatch(cell.strip()) else cell
        if self.type == "array" and not cell.lstrip().startswith("["):
            return cell.split()
        if self.type in ("array", "object"):
            try:
                return read_json(cell)
            except ValueError:
                return cell
        return cell


TEXT = Column("string", None)


def columns_of(schema: type[BaseModel], *left_out: str) -> dict[str, Column]:
    properties = schema.model_json_schema()["properties"]
    return {
        name: Column(_type(properties[name]), _empty(field))
        for name, field in schema.model_fields.items()
        if name not in left_out
    }


def from_cells(values: Mapping[str, str], columns: Mapping[str, Column]) -> dict[str, Any]:
    """The values of a record of a CSV. An empty cell empties its field, as far as that may be empty."""
    read = {name: columns[name].value(cell) if cell.strip() else columns[name].empty for name, cell in values.items()}
    return {name: value for name, value in read.items() if value is not PydanticUndefined}


def line_errors(line: int, error: ValidationError, names: Mapping[str, str]) -> list[LineError]:
    """`names` has the columns of fields that are called otherwise."""
    return [
        LineError(line, _field(problem["loc"], names), str(problem["msg"]).removeprefix("Value error, "))
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _field(location: tuple[int | str, ...], names: Mapping[str, str]) -> str:
    first, *rest = map(str, location or ("",))
    return ".".join((names.get(first, first), *rest))[:200]


def _type(described: Mapping[str, Any]) -> str:
    choices = [each.get("type", "string") for each in described.get("anyOf", [described])]
    return str(next((each for each in choices if each != "null"), "string"))


def _empty(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)
