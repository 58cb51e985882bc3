"""The terminal: what a command says and asks goes through here."""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from typing import Any, TextIO

import yaml

from .exits import Ended, Exit
from .text import Paper, clean

WIDEST = 120
PIPED = 80


@dataclass(frozen=True)
class Console:
    """Results go to `out`, progress to `progress`: a pipe gets the results alone."""

    out: TextIO
    progress: TextIO
    answers: TextIO
    output: str = ""
    """json, yaml, or empty for people."""

    @property
    def paper(self) -> Paper:
        terminal = self.out.isatty()
        width = shutil.get_terminal_size((PIPED, 24)).columns if terminal else PIPED
        colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return Paper(max(40, min(width, WIDEST)), colour, plain="utf" not in (self.out.encoding or "").lower())

    def show(self, text: str, document: Any) -> None:
        """The result: text for people, the document for programs."""
        match self.output:
            case "json":
                print(json.dumps(document, indent=2, ensure_ascii=False), file=self.out, flush=True)
            case "yaml":
                print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), end="", file=self.out, flush=True)
            case _:
                print(text, file=self.out, flush=True)

    def redraw(self, text: str) -> None:
        """In place of what was shown before, on a terminal; else below it."""
        start = "\x1b[H\x1b[2J\x1b[3J" if self.out.isatty() else ""
        print(f"{start}{text}", end="\n" if start else "\n\n", file=self.out, flush=True)

    def say(self, text: str) -> None:
        """Progress, or why it ended. Lines with an indent are to be copied, and stay whole."""
        for line in clean(text).splitlines():
            whole = line.startswith("  ") or not self.progress.isatty()
            for part in [line] if whole else self.paper.paragraph(line):
                print(part, file=self.progress, flush=True)

    def confirm(self, name: str, warning: str) -> None:
        """Raises Ended unless the name is typed."""
        for line in self.paper.paragraph(warning):
            print(line, file=self.progress)
        if not self.answers.isatty():
            raise Ended(Exit.USAGE, "nobody can be asked here: --yes says that this is understood")
        print(f"Type the app's name ({name}) to go on: ", end="", file=self.progress, flush=True)
        if self.answers.readline().strip() != name:
            raise Ended(Exit.REFUSED, "not confirmed: nothing was changed")


def standard(output: str) -> Console:
    return Console(sys.stdout, sys.stderr, sys.stdin, output)
