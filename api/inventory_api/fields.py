"""The kinds of input: every text and number has bounds, and what is not known is refused."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
)
from pydantic_core import CoreSchema

MAX_ID = 2**63 - 1
MAX_QUANTITY = 1_000_000


class Input(BaseModel):
    # A pattern means here what it means to who reads the contract, where it says which spaces it means.
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, regex_engine="python-re")


def unchanged() -> Any:
    """The default of a field that may be left out of a change, but not be null."""
    return Field(default_factory=lambda: None)


class Output(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class OrLeftOut:
    """Of a header, which can be left out, but not be null: what the contract says of it."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        given, _ = schema.pop("anyOf")
        return {**given, **schema}


def _whole(value: Any) -> Any:
    """JSON has one kind of number, and 3.0 is as much an integer as 3 is (JSON Schema, 6.1.1)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain NUL")
    return value


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


def _written_out(value: Any) -> Any:
    """A number would be taken for the seconds, or the milliseconds, since 1970."""
    if isinstance(value, datetime) or (isinstance(value, str) and ":" in value):
        return value
    raise ValueError("must be a date and a time with an offset, as 2030-01-01T12:00:00Z")


def _within_the_calendar(value: datetime) -> datetime:
    """An offset may carry a time out of the years that Python and PostgreSQL share."""
    if not 1970 <= value.year <= 9000:
        raise ValueError("must be a year from 1970 to 9000")
    return _utc(value)


# What a pattern says is seen in the contract only where it comes before the other rules.
WITHOUT_NUL = AfterValidator(_without_nul)
# Of what is a space to some patterns only: to those of Python, U+001C to U+001F and U+0085 are; to those of ECMAScript,
# which a contract has, U+FEFF is. So it means the same to both.
_SPACE = r"\s\x1c-\x1f\x85\ufeff"
# Of a text that may not be empty: spaces around it are taken away before it is measured.
NOT_BLANK = rf"[^{_SPACE}]"
Text = Annotated[str, WITHOUT_NUL]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NOT_BLANK), WITHOUT_NUL]
Sku = Annotated[str, Field(min_length=1, max_length=64, pattern=NOT_BLANK), WITHOUT_NUL]
# What a scanner reads, or somebody types in its place.
Code = Annotated[str, Field(min_length=1, max_length=100, pattern=NOT_BLANK), WITHOUT_NUL]
Serial = Code
Barcode = Code
Note = Annotated[Text, Field(max_length=500)]
Email = Annotated[
    str,
    Field(max_length=254, pattern=rf"^[^@{_SPACE}]+@[^@{_SPACE}]+$"),
    WITHOUT_NUL,
    AfterValidator(str.lower),
]
PASSWORD_LENGTH = Field(min_length=8, max_length=128)
NewPassword = Annotated[Text, PASSWORD_LENGTH]
GivenPassword = Annotated[Text, Field(max_length=128)]
# Of a body: neither a text nor true counts as one.
WHOLE = BeforeValidator(_whole)
Id = Annotated[int, Field(strict=True, ge=1, le=MAX_ID), WHOLE]
QueryId = Annotated[int, Field(ge=1, le=MAX_ID)]
PathId = QueryId
Quantity = Annotated[int, Field(strict=True, ge=1, le=MAX_QUANTITY), WHOLE]
Difference = Annotated[int, Field(strict=True, ge=-MAX_QUANTITY, le=MAX_QUANTITY), WHOLE]
Stock = Annotated[int, Field(strict=True, ge=0, le=MAX_QUANTITY), WHOLE]
Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_within_the_calendar)]
Shown = Annotated[datetime, PlainSerializer(_utc)]
