"""Being told to end, from the first moment on."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def exit_on(*signals: signal.Signals, status: int | None = None) -> None:
    """The first of these signals ends the process with this status, or else as a shell shows a death by signal.

    It ends by SystemExit, so what is open is closed; more signals come to nothing, or they would disturb that.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number if status is None else status)

    for each in signals:
        signal.signal(each, end)


@contextmanager
def held_back(*signals: signal.Signals) -> Iterator[None]:
    """These signals wait until the block ends, also for the programs that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
