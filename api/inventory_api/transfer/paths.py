r"""Paths such as `Tools/Power tools`. In a name that has them, `/` is written `\/` and `\` is written `\\`."""

import re
from collections.abc import Iterable

from inventory_api.trees.service import MAX_DEPTH

MAX_LENGTH = 10_000
Path = tuple[str, ...]
_NAME = re.compile(r"(?:\\.|[^/\\]|\\$)*", re.DOTALL)
_ESCAPED = re.compile(r"\\([/\\])")


def join_path(names: Iterable[str]) -> str:
    return "/".join(re.sub(r"[/\\]", lambda found: "\\" + found[0], name) for name in names)


def split_path(text: str) -> Path:
    """The names from the root on. Raises ValueError where one is empty, or where they are too many or too long."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"has more than {MAX_LENGTH} characters")
    names = []
    start = 0
    while True:
        found = _NAME.match(text, start)
        assert found is not None  # noqa: S101 - it matches the empty text
        names.append(_ESCAPED.sub(r"\1", found[0]).strip())
        if found.end() == len(text):
            break
        start = found.end() + 1
    if not all(names):
        raise ValueError("has an empty name between its slashes")
    if len(names) > MAX_DEPTH:
        raise ValueError(f"has more than {MAX_DEPTH} names")
    if any(len(name) > 200 or "\0" in name for name in names):
        raise ValueError("has a name of more than 200 characters, or one with NUL")
    return tuple(names)
