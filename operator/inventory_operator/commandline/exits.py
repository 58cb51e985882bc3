"""How a command ends, for scripts; docs/command-line.md has the same table."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    REFUSED = 3  # refused, or failed
    WAITS = 4  # for a person
    TIME_LIMIT = 5


class Ended(Exception):  # noqa: N818 - it is how a command ends, not always by an error
    """A command that can't go on: the exit code, and the sentence for a person."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
