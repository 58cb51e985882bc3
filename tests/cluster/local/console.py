"""What the person at the terminal sees: one line a step with its seconds, and errors that say what to do."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HEARTBEAT_SECONDS = 60


class Problem(Exception):  # noqa: N818 - it is shown to a person, not caught as an error
    """A sentence for the person at the terminal: what happened, to what, why, and what to do."""


def say(text: str) -> None:
    """Progress goes to stderr: stdout is for what a program may read."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Shows the title with its elapsed seconds: in place on a terminal, as lines elsewhere."""
    start = time.monotonic()
    done = threading.Event()
    terminal = sys.stderr.isatty()

    def tick() -> None:
        while not done.wait(1 if terminal else _HEARTBEAT_SECONDS):
            seconds = time.monotonic() - start
            if terminal:
                print(f"\r  {title} … {seconds:.0f} s", end="", file=sys.stderr, flush=True)
            else:
                say(f"  {title} … {seconds:.0f} s so far")

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    outcome = "failed after"
    try:
        yield
        outcome = "in"
    finally:
        done.set()
        ticker.join()
        clear = "\r\033[K" if terminal else ""
        say(f"{clear}  {title}: {outcome} {time.monotonic() - start:.1f} s")


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, indented, for the message of a Problem."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-count:]
    except OSError as error:
        return f"    (no log: {error})"
    return "\n".join(f"    {line[:400]}" for line in lines) or "    (the log is empty)"
