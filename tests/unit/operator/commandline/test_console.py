"""Colour, width and characters by where the text goes."""

import io

import pytest
from inventory_operator.commandline.console import Console

from .api_server import Typed


def paper_of(out: io.StringIO) -> tuple[int, bool]:
    paper = Console(out, io.StringIO(), io.StringIO()).paper
    return paper.width, paper.colour


def test_a_pipe_gets_80_columns_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert paper_of(io.StringIO()) == (80, False)


@pytest.mark.parametrize(
    ("name", "value", "colour"), [("TERM", "xterm", True), ("TERM", "dumb", False), ("NO_COLOR", "1", False)]
)
def test_a_terminal_gets_colour_unless_it_is_unwanted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, colour: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv(name, value)
    assert paper_of(Typed()) == (100, colour)


def test_a_terminal_that_has_no_unicode_gets_ascii() -> None:
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert Console(latin, io.StringIO(), io.StringIO()).paper.plain
