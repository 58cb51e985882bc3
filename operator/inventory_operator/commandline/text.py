"""Text for terminals: widths, columns and colours. Pure."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

_COLOURS = {"good": "32", "bad": "31", "notice": "33", "dim": "2", "bold": "1"}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Paper:
    """What is written on."""

    width: int = 80
    colour: bool = False
    plain: bool = False
    """ASCII alone."""

    def paint(self, how: str, text: str) -> str:
        """In a colour, where there are colours."""
        return f"\x1b[{_COLOURS[how]}m{text}\x1b[0m" if self.colour and text else text

    def branch(self, last: bool) -> str:
        """Before an entry of a tree."""
        return ("`- " if last else "|- ") if self.plain else ("└─ " if last else "├─ ")

    def trunk(self, last: bool) -> str:
        """Before what hangs under that entry."""
        return "   " if last else ("|  " if self.plain else "│  ")

    @property
    def more(self) -> str:
        return "..." if self.plain else "…"

    def cut(self, text: str, width: int) -> str:
        """One line of at most so many characters; the end goes."""
        return text if len(text) <= width else text[: max(0, width - len(self.more))].rstrip() + self.more

    def cut_front(self, text: str, width: int) -> str:
        """The same; the beginning goes."""
        return text if len(text) <= width else self.more + text[len(text) - max(0, width - len(self.more)) :]

    def image(self, reference: str, width: int) -> str:
        """An image by what tells it from another: its end, of a digest twelve digits."""
        short = re.sub(r"(@sha256:[0-9a-f]{12})[0-9a-f]+", r"\1", reference)
        return self.cut_front(short, width)

    def paragraph(self, text: str, indent: str = "") -> list[str]:
        """Wrapped lines; words that are longer than a line stay whole, so that they can be copied."""
        room = max(20, self.width)
        return textwrap.wrap(
            clean(text), room, initial_indent=indent, subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip

    def fit(self, line: str) -> str:
        """A line that is too long, cut; its colours go with its end."""
        return line if shown(line) <= self.width else self.cut(_ESCAPE.sub("", line), self.width)

    def columns(self, heads: Sequence[str], rows: Sequence[Sequence[str]], *, images: bool = False) -> list[str]:
        """A line of heads, then one a row; the last column, maybe images, is cut to what is left of the line."""
        table = [list(heads), *map(list, rows)]
        widths = [max(shown(row[i]) for row in table) for i in range(len(heads) - 1)]
        lines = []
        for row in table:
            start = "  ".join(cell + " " * (width - shown(cell)) for cell, width in zip(row, widths, strict=False))
            room = self.width - shown(start) - 2
            last = self.image(row[-1], room) if images else self.cut(row[-1], room)
            lines.append(f"{start}  {last}".rstrip())
        return lines


def shown(text: str) -> int:
    """Columns that a text takes up."""
    return len(_ESCAPE.sub("", text))


def clean(text: str) -> str:
    """Without control characters: what a cluster says must not steer a terminal."""
    return _CONTROL.sub(" ", text)


def ago(then: datetime, now: datetime) -> str:
    """An age as kubectl writes it: 42s, 5m, 3h, 12d."""
    return lasting((now - then).total_seconds())


def lasting(seconds: float) -> str:
    amount = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if amount >= 2 * size or (unit != "m" and amount >= size * 1.5):
            return f"{amount // size}{unit}"
    return f"{amount}s"


def joined(names: Iterable[object]) -> str:
    """1, 2 and 3."""
    words = [str(name) for name in names]
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
