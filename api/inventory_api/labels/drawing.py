"""A label as an SVG: a QR code, and beside it what people read. A sheet of them as a page to print."""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import segno

# In tenths of a millimetre.
_WIDTH, _HEIGHT, _MARGIN = 700, 300, 15
_TEXT_LEFT = _HEIGHT
_TEXT_WIDTH = _WIDTH - _TEXT_LEFT - _MARGIN
# Modules that stay white around a code, by its standard.
_QUIET = 4
# How wide a character of a bold font is on average, in its size.
_CHARACTER = 0.7
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TITLE_LINES = 3
_DETAIL_LINES = 3


@dataclass(frozen=True)
class Label:
    code: str
    """What a scanner reads."""
    title: str
    details: tuple[str, ...] = ()


def svg(label: Label) -> str:
    """The label, without anything that a browser would run or fetch, whatever the texts are."""
    texts = "".join(_texts(label))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH // 10}mm" height="{_HEIGHT // 10}mm" role="img" font-family="sans-serif">'
        f"<title>{_safe(label.title)}</title>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
        f"{_qr_code(label.code)}"
        # A viewport of its own: what is wider than it should be ends there.
        f'<svg x="{_TEXT_LEFT}" y="0" width="{_TEXT_WIDTH}" height="{_HEIGHT}" overflow="hidden">{texts}</svg>'
        "</svg>"
    )


def sheet(labels: Iterable[Label], columns: int) -> tuple[str, str]:
    """A page of A4 with the labels in so many columns, and the content security policy for it."""
    style = (
        "@page{size:A4;margin:10mm}"
        "body{margin:0;background:#fff}"
        f"main{{display:grid;grid-template-columns:repeat({columns},1fr);gap:2mm}}"
        "div{break-inside:avoid;outline:.2mm dashed #bbb}"
        "div>svg{display:block;width:100%;height:auto}"
        "@media screen{main{width:190mm;margin:10mm auto}}"
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Labels</title>'
        f"<style>{style}</style></head><body><main>"
        + "".join(f"<div>{svg(label)}</div>" for label in labels)
        + "</main></body></html>"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def wrap(text: str, width: int, lines: int) -> list[str]:
    """The text in so many lines of so many columns at most, of which a wide character takes two.

    Breaks between words, and in a word that is longer than a line. What is left out shows as `…`.
    """
    rest = " ".join(_NOT_IN_XML.sub("\ufffd", text).split())
    wrapped: list[str] = []
    while rest and len(wrapped) < lines:
        line = _head(rest, width)
        if len(line) < len(rest) and rest[len(line)] != " " and " " in line.strip():
            line = line[: line.rindex(" ")]
        rest = rest[len(line) :].strip()
        wrapped.append(line.strip())
    if rest:
        wrapped[-1] = _head(wrapped[-1], width - 1).rstrip() + "…"
    return wrapped


def _texts(label: Label) -> Iterable[str]:
    base = _MARGIN
    for line in _fitting([label.title], 36, _TITLE_LINES):
        base += 42
        yield _text(line, 36, base, 'font-weight="bold"')
    base += 8
    for line in _fitting(label.details, 28, _DETAIL_LINES):
        base += 34
        yield _text(line, 28, base)
    for line in _fitting([label.code], 18, 1):
        yield _text(line, 18, _HEIGHT - _MARGIN, 'fill="#555"')


def _fitting(texts: Sequence[str], size: int, lines: int) -> list[str]:
    """The texts one below the other, each cut so that the others have a line too."""
    width = int(_TEXT_WIDTH / (size * _CHARACTER))
    shown: list[str] = []
    for number, text in enumerate(texts):
        shown += wrap(text, width, max(1, lines - len(shown) - (len(texts) - number - 1)))
    return shown[:lines]


def _text(line: str, size: int, base: int, more: str = "") -> str:
    return f'<text x="0" y="{base}" font-size="{size}" {more}>{_safe(line)}</text>'


def _qr_code(code: str) -> str:
    matrix = segno.make(code, error="m", micro=False).matrix
    size = len(matrix) + 2 * _QUIET
    path = "".join(
        f"M{start + _QUIET} {y + _QUIET}h{end - start}v1h-{end - start}z"
        for y, row in enumerate(matrix)
        for start, end in _dark(row)
    )
    return (
        f'<svg x="0" y="0" width="{_HEIGHT}" height="{_HEIGHT}" viewBox="0 0 {size} {size}">'
        f'<path d="{path}" shape-rendering="crispEdges"/></svg>'
    )


def _dark(row: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Where dark modules begin and end."""
    start = None
    for x, module in enumerate([*row, 0]):
        if module and start is None:
            start = x
        elif not module and start is not None:
            yield start, x
            start = None


def _head(text: str, width: int) -> str:
    taken = 0
    for index, character in enumerate(text):
        taken += _columns(character)
        if taken > width:
            return text[:index]
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _safe(text: str) -> str:
    """A text that is only a text in XML and HTML."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))
