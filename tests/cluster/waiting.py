"""Waiting until something is so, with a limit and a failure that tells what was there instead."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

INTERVAL_SECONDS = 0.2
T = TypeVar("T")


def wait_for(
    what: str, condition: Callable[[], T | None], seconds: float = 120, describe: Callable[[], str] = lambda: ""
) -> T:
    """The first value of `condition` that is true. Raises AssertionError when there was none in time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}\n{describe()}")
        pause.wait(INTERVAL_SECONDS)
    return found
