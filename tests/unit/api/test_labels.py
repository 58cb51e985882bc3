"""Labels: what a scanner reads, what people read, and that a text stays a text."""

import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory_api.labels.drawing import Label, sheet, svg, wrap

from tests.unit.api.qr_reader import read_qr_code

_SVG = "{http://www.w3.org/2000/svg}"
NASTY = "</text><script>alert('x')</script><!-- \" & ]]> \x0b\x1b\x01\ufffe"


def parsed(label: Label) -> ElementTree.Element:
    return ElementTree.fromstring(svg(label))  # noqa: S314 - our own


def modules(drawn: ElementTree.Element) -> list[list[bool]]:
    """Those of the code in a label, without the quiet zone around it, which must be white and wide enough."""
    (code,) = [each for each in drawn.iter(f"{_SVG}svg") if each.find(f"{_SVG}path") is not None]
    size = int(code.attrib["viewBox"].split()[2])
    matrix = [[False] * size for _ in range(size)]
    path = code.find(f"{_SVG}path")
    assert path is not None
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path.attrib["d"]):
        for column in range(int(x), int(x) + int(width)):
            matrix[int(y)][column] = True
    assert not any(any(row) for row in matrix[:4] + matrix[-4:])
    assert not any(any(row[:4] + row[-4:]) for row in matrix)
    return [row[4:-4] for row in matrix[4:-4]]


def texts(label: Label) -> list[str]:
    return [each.text or "" for each in parsed(label).iter(f"{_SVG}text")]


@pytest.mark.parametrize(
    "code", ["inv:item:12", "inv:location:9223372036854775807", "4006381333931", "7", "42", "SHELF-7", "größe ☂", "<&>"]
)
def test_a_scanner_reads_the_code(code: str) -> None:
    assert read_qr_code(modules(parsed(Label(code, "Drill")))) == code


def test_people_read_name_details_and_code() -> None:
    assert texts(Label("inv:unit:3", "Cordless drill", ("SN-1", "DRILL-1"))) == [
        "Cordless drill",
        "SN-1",
        "DRILL-1",
        "inv:unit:3",
    ]


def test_a_long_name_is_wrapped_and_cut_and_leaves_the_details_their_lines() -> None:
    shown = texts(Label("inv:item:1", "Cordless drill driver " * 9, ("S" * 64, "T" * 64)))

    assert shown[0] == "Cordless drill"
    assert shown[2].endswith("…")
    assert {text[0] for text in shown[3:]} == {"S", "T", "i"}
    assert len(shown) == 7


@pytest.mark.parametrize("where", ["code", "title", "details"])
def test_a_text_stays_a_text(where: str) -> None:
    given = {"code": "inv:item:1", "title": "Drill", "details": ("x",)}
    label = Label(**{**given, where: (NASTY,) if where == "details" else NASTY})  # type: ignore[arg-type]

    tags = {each.tag.removeprefix(_SVG) for each in parsed(label).iter()}
    assert tags == {"svg", "title", "rect", "path", "text"}
    page, _ = sheet([label], 3)
    assert tags_of(page) == {"html", "head", "meta", "title", "style", "body", "main", "div", *tags}


def tags_of(page: str) -> set[str]:
    """The tags that a browser sees."""
    found = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            found.add(tag)

        def handle_comment(self, data: str) -> None:
            found.add("comment")

    Reader().feed(page)
    return found


@settings(deadline=None)
@given(st.text(max_size=300), st.text(min_size=1, max_size=100).filter(lambda code: code.isprintable()))
def test_any_text_makes_a_proper_svg(title: str, code: str) -> None:
    parsed(Label(code, title, (title, title)))


def columns(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


@given(st.text(max_size=200), st.integers(4, 40), st.integers(1, 5))
def test_lines_are_never_wider_nor_more_than_there_is_room_for(text: str, width: int, lines: int) -> None:
    wrapped = wrap(text, width, lines)

    assert len(wrapped) <= lines
    assert all(columns(line) <= width for line in wrapped)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), max_size=10))
def test_what_fits_is_there_as_it_was(words: list[str]) -> None:
    assert " ".join(wrap(" ".join(words), 10, 100)).split() == words


def test_the_sheet_has_nothing_that_a_browser_would_run_or_fetch() -> None:
    page, policy = sheet([Label("inv:item:1", "Drill")] * 2, 4)

    assert page.count("<svg xmlns") == 2
    assert "repeat(4,1fr)" in page
    assert "default-src 'none'" in policy
    assert not re.search(r"<script|<link|<img|<iframe|\bon\w+=|url\(|@import|style=", page)
    assert set(re.findall(r"https?://[^\"]+", page)) == {"http://www.w3.org/2000/svg"}
