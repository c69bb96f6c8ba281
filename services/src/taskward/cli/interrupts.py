"""What Ctrl-C does before there is anything to clean up."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""The exit code. (This module imports next to nothing: it has to work from the start.)"""


@contextmanager
def leaving() -> Iterator[None]:
    """Within the block, while modules are imported say, an interrupt ends the process at once and quietly.

    KeyboardInterrupt can be lost in the middle of an import, which calls what Python ignores the exceptions of.
    A process that ignores interrupts, in the background of a script say, goes on to do so.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:
        signal.signal(signal.SIGINT, _leave)
    yield
    if usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
