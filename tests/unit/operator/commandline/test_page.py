"""docs/command-line.md says what is so."""

import argparse
import re
from pathlib import Path

from inventory_operator.commandline.arguments import parser
from inventory_operator.commandline.exits import Exit

PAGE = (Path(__file__).parents[4] / "docs" / "command-line.md").read_text()


def test_every_exit_code_is_in_the_table_and_no_other() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)] == sorted(Exit)


def test_every_command_is_named() -> None:
    verbs = next(each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    assert [verb for verb in verbs.choices if not re.search(rf"[`-]{verb}\b|inventory {verb}\b", PAGE)] == []
