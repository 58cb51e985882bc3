"""CSV as people have it, and JSON lines: read a record at a time, within bounds, and written."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from pydantic_core import from_json

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t"
# What a spreadsheet takes for a formula, behind any number of the marks that keep it from that.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_MARKED = re.compile("'+[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


@dataclass(frozen=True)
class Limits:
    lines: int
    line_bytes: int


@dataclass(frozen=True)
class Record:
    """The values of one line by their columns. A record of a CSV has texts only, as they are in its cells."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True)
class LineError:
    line: int
    field: str
    message: str


class UnreadableError(Exception):
    """What comes after this can't be read."""

    def __init__(self, *errors: LineError) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


class _Lines:
    """A text's lines with their ends, one at a time, and counted. Raises UnreadableError at one that is too long."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self.number = 0
        self.begin = 1
        self._limit = limit
        self._record = 0
        self._lines = self._split(chunks)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        self._record += len(line)
        self._bound(self._record)
        try:
            return line.decode()
        except UnicodeDecodeError:
            message = "is not UTF-8: save the file as UTF-8. What follows was not read"
            raise UnreadableError(LineError(self.number, "", message)) from None

    def begin_record(self) -> None:
        """The next line is the first of a record."""
        self._record = 0
        self.begin = self.number + 1

    def _split(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        rest = b""
        first = True
        for chunk in chunks:
            rest += chunk
            if first and len(rest) >= len(_BOM):
                rest, first = rest.removeprefix(_BOM), False
            *lines, rest = rest.splitlines(keepends=True) or [b""]
            yield from lines
            self._bound(len(rest))
        # The last one was kept back, for its end may have been cut in two.
        yield from rest.splitlines(keepends=True)

    def _bound(self, size: int) -> None:
        if size > self._limit:
            message = f"has more than {self._limit} bytes, or a quote without an end. What follows was not read"
            raise UnreadableError(LineError(self.begin, "", message))


def read_csv(chunks: Iterable[bytes], limits: Limits, known: Iterable[str]) -> Iterator[Record | LineError]:
    """The records below the header, whose names may be written in any case, with `,`, `;` or tab between the cells.

    Raises UnreadableError where the header has a name that is not `known`, and where the rest can't be read.
    """
    lines = _Lines(chunks, limits.line_bytes)
    first = next(lines, "")
    delimiter = max(_DELIMITERS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
    rows = _rows(lines, csv.reader(chain([first], lines), delimiter=delimiter, strict=True))
    header = _header(next(rows, (1, []))[1], frozenset(known))
    count = 0
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        count += 1
        _bound_count(count, line, limits)
        if len(cells) != len(header):
            yield LineError(line, "", f"has {len(cells)} cells, but the header has {len(header)}")
        elif any(cell and not name for name, cell in zip(header, cells, strict=True)):
            yield LineError(line, "", "has a cell in a column without a name")
        else:
            named = zip(header, cells, strict=True)
            yield Record(line, {name: unmarked(cell) for name, cell in named if name})


def read_jsonl(chunks: Iterable[bytes], limits: Limits, known: Iterable[str]) -> Iterator[Record | LineError]:
    """One object a line. Raises UnreadableError where the rest can't be read."""
    lines = _Lines(chunks, limits.line_bytes)
    columns = frozenset(known)
    count = 0
    for text in lines:
        lines.begin_record()
        if not text.strip():
            continue
        count += 1
        _bound_count(count, lines.number, limits)
        yield _json_record(lines.number, text, columns)


def read_json(text: str) -> Any:
    """Raises ValueError where it is none, also for a number such as 1e999, which would be read as infinity."""
    value = from_json(text, allow_inf_nan=False)
    if not _is_finite(value):
        raise ValueError("a number is too large")
    return value


def marked(text: str) -> str:
    """The text with a `'` before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unmarked(text: str) -> str:
    """What `marked` was given. A formula that comes without the mark stays as it is."""
    return text[1:] if _MARKED.match(text) else text


def csv_bytes(rows: Iterable[Sequence[Any]]) -> bytes:
    """Lines of CSV after RFC 4180, with no formula in them: see `marked`."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue().encode()


def jsonl_bytes(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    return "".join(
        json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, separators=(",", ":"), default=_moment)
        + "\n"
        for row in rows
    ).encode()


def _rows(lines: _Lines, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its first line."""
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            message = f"is no CSV: {error}. What follows was not read"
            raise UnreadableError(LineError(lines.begin, "", message)) from None
        if row is None:
            return
        yield lines.begin, row
        lines.begin_record()


def _header(cells: Sequence[str], known: frozenset[str]) -> list[str]:
    names = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells]
    if not any(names):
        raise UnreadableError(LineError(1, "", "The first line must name the columns"))
    errors = [LineError(1, name, "is not a column of this kind") for name in names if name and name not in known]
    errors += [LineError(1, name, "names two columns") for name in sorted(set(names)) if name and names.count(name) > 1]
    if errors:
        raise UnreadableError(*errors)
    return names


def _json_record(line: int, text: str, known: frozenset[str]) -> Record | LineError:
    try:
        values = read_json(text)
    except ValueError as error:
        return LineError(line, "", f"is no JSON: {error}")
    if not isinstance(values, dict):
        return LineError(line, "", "is no JSON object")
    for name in values:
        if name not in known:
            return LineError(line, name[:100], "is not a field of this kind")
    return Record(line, values)


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, list) else True


def _bound_count(count: int, line: int, limits: Limits) -> None:
    if count > limits.lines:
        message = f"is one more than the {limits.lines} that may be in one file. What follows was not read"
        raise UnreadableError(LineError(line, "", message))


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return marked(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value


def _moment(value: Any) -> str:
    assert isinstance(value, datetime)  # noqa: S101 - JSON knows the rest itself
    return value.isoformat().replace("+00:00", "Z")
