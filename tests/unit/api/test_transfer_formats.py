"""Reading and writing files: what people send, within bounds."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory_api.transfer.formats import (
    Limits,
    LineError,
    Record,
    UnreadableError,
    csv_bytes,
    jsonl_bytes,
    marked,
    read_csv,
    read_jsonl,
    unmarked,
)

LIMITS = Limits(lines=100, line_bytes=1024)
COLUMNS = ("sku", "name", "minimum_stock")


def records(content: bytes, limits: Limits = LIMITS) -> list[Record | LineError]:
    return list(read_csv([content], limits, COLUMNS))


def values(content: bytes) -> list[dict[str, Any]]:
    return [each.values for each in records(content) if isinstance(each, Record)]


def refusal(found: Iterator[Record | LineError]) -> list[LineError]:
    with pytest.raises(UnreadableError) as error:
        list(found)
    return list(error.value.errors)


@pytest.mark.parametrize(
    "content",
    [
        b"sku,name\na,Drill\nb,Saw\n",
        b"\xef\xbb\xbfsku,name\r\na,Drill\r\nb,Saw",
        b"SKU;Name\na;Drill\nb;Saw\n",
        b"Sku\tNAME\na\tDrill\nb\tSaw\n",
        b'"sku","name"\r"a","Drill"\r"b","Saw"\r',
        b" sku , name \na,Drill\n\n,\n   ,  \nb,Saw\n",
    ],
)
def test_csv_is_read_as_people_have_it(content: bytes) -> None:
    assert values(content) == [{"sku": "a", "name": "Drill"}, {"sku": "b", "name": "Saw"}]


def test_a_header_of_words_names_the_column_with_underscores() -> None:
    assert values(b"SKU,Minimum stock\na,1\n") == [{"sku": "a", "minimum_stock": "1"}]


def test_a_cell_may_have_line_breaks_delimiters_and_quotes_and_lines_count_as_an_editor_shows_them() -> None:
    found = records(b'sku,name\na,"two\r\nlines; a ""quote"", a comma"\nb,next\n')

    assert found == [
        Record(2, {"sku": "a", "name": 'two\r\nlines; a "quote", a comma'}),
        Record(4, {"sku": "b", "name": "next"}),
    ]


def test_unknown_columns_are_refused_by_name_all_at_once() -> None:
    errors = refusal(read_csv([b"sku,colour,Weight kg\na,red,1\n"], LIMITS, COLUMNS))

    assert [(error.line, error.field) for error in errors] == [(1, "colour"), (1, "weight_kg")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "name the columns"),
        (b"\n\n", "name the columns"),
        (b"sku,name,SKU\na,b,c\n", "two columns"),
        (b"sku,name\na,b\xff\n", "not UTF-8"),
        ("sku,name\na,b\n".encode("utf-16"), "not UTF-8"),
        (b'sku,name\na,"b\nc,d\n', "no CSV"),
        (b'sku,name\na,"b"c\n', "no CSV"),
    ],
)
def test_what_cannot_be_read_on_is_said(content: bytes, message: str) -> None:
    assert message in refusal(read_csv([content], LIMITS, COLUMNS))[0].message


def test_the_line_is_named_that_is_not_utf_8() -> None:
    content = b"sku,name\na,b\nc,\xe4\n"

    assert refusal(read_csv([content], LIMITS, COLUMNS))[0].line == 3


def test_a_row_of_another_width_is_an_error_and_the_next_is_read() -> None:
    found = records(b"sku,name\na\nb,c,d\ne,f\n")

    assert [type(each) for each in found] == [LineError, LineError, Record]
    assert [each.line for each in found] == [2, 3, 4]


def test_a_column_without_a_name_may_only_be_empty() -> None:
    found = records(b"sku,name,\na,b,\nc,d,e\n")

    assert found[0] == Record(2, {"sku": "a", "name": "b"})
    assert isinstance(found[1], LineError)


@pytest.mark.parametrize("shape", [read_csv, read_jsonl])
def test_no_line_is_longer_than_it_may_be_even_if_it_never_ends(shape: Any) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield b"sku\n"
        while True:
            taken += 1
            yield b"x" * 100

    errors = refusal(shape(endless(), LIMITS, COLUMNS))

    assert "more than 1024 bytes" in errors[-1].message
    assert taken < 15


def test_a_quote_without_an_end_takes_no_more_than_a_line_may_have() -> None:
    content = b'sku,name\na,"b\n' + b"c,d\n" * 1000

    errors = refusal(read_csv([content], LIMITS, COLUMNS))
    assert (errors[0].line, "quote without an end" in errors[0].message) == (2, True)


@pytest.mark.parametrize(("shape", "line"), [(read_csv, b"a\n"), (read_jsonl, b'{"sku": "a"}\n')])
def test_there_are_no_more_lines_than_may_be(shape: Any, line: bytes) -> None:
    head = [b"sku\n"] if shape is read_csv else []

    assert len(list(shape([*head, line * 100], LIMITS, COLUMNS))) == 100
    assert "one more than the 100" in refusal(shape([*head, line * 101], LIMITS, COLUMNS))[0].message


def test_of_json_lines_a_wrong_one_is_an_error_and_the_next_is_read() -> None:
    content = b'{"sku": "a"}\n{"sku": \n\n[]\n{"colour": 1}\n{"minimum_stock": 1e999}\n{"sku": NaN}\n{"sku": "b"}'

    found = list(read_jsonl([content], LIMITS, COLUMNS))

    assert found[0] == Record(1, {"sku": "a"})
    assert [each.line for each in found if isinstance(each, LineError)] == [2, 4, 5, 6, 7]
    assert found[-1] == Record(8, {"sku": "b"})


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([read_csv, read_jsonl]))
def test_no_bytes_break_the_reader(content: bytes, shape: Any) -> None:
    with suppress(UnreadableError):
        list(shape([b"sku,name\n", content], LIMITS, COLUMNS))


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5), st.integers(1, 50))
def test_a_file_says_the_same_however_it_comes_in_pieces(rows: list[tuple[str, str]], size: int) -> None:
    content = csv_bytes([("sku", "name"), *(("".join(a.split("\0")), b) for a, b in rows)])
    pieces = [content[start : start + size] for start in range(0, len(content), size)]

    def read(chunks: Iterable[bytes]) -> list[Record | LineError]:
        return list(read_csv(chunks, LIMITS, COLUMNS))

    assert read(pieces) == read([content])


@given(st.text())
def test_what_is_written_is_read_as_it_was(text: str) -> None:
    content = csv_bytes([("sku", "name"), ("a", text)])

    assert values(content) == [{"sku": "a", "name": text}]


@given(st.text(alphabet="'=+-@\t\r\nabc\uff1d"))
def test_marking_a_formula_is_undone_without_loss(text: str) -> None:
    assert unmarked(marked(text)) == text
    assert marked(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d")


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "''-1"])
def test_no_cell_that_is_written_is_a_formula(formula: str) -> None:
    cell = next(csv.reader(io.StringIO(csv_bytes([[formula]]).decode(), newline="")))[0]

    assert cell == f"'{formula}"


def test_a_formula_without_a_mark_is_read_as_it_is() -> None:
    assert values(b"sku,name\na,=1+1\nb,'tis\n") == [{"sku": "a", "name": "=1+1"}, {"sku": "b", "name": "'tis"}]


def test_numbers_times_and_structures_have_one_way_to_be_written() -> None:
    row = (-3, None, True, datetime(2030, 1, 2, 3, 4, tzinfo=UTC), {"ä": [1]})

    assert csv_bytes([row]).decode() == '-3,,true,2030-01-02T03:04:00Z,"{""ä"": [1]}"\r\n'
    assert json.loads(jsonl_bytes("abcde", [row])) == {
        "a": -3,
        "b": None,
        "c": True,
        "d": "2030-01-02T03:04:00Z",
        "e": {"ä": [1]},
    }
