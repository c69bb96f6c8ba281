"""Forked processes of one parent: begun, counted, waited for, each by its own pid."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from taskward.core.process import die_with_parent

_HELD_BACK: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
"""Blocked while a process is begun, so that none is forgotten."""

_TICK_S: Final = 5.0
_logger = logging.getLogger(__name__)


class Children:
    """Those that live, by pid, each with a number or None. For the main thread of one process."""

    def __init__(self) -> None:
        self._living: dict[int, int | None] = {}
        self._dead: list[tuple[int | None, int]] = []
        signal.signal(signal.SIGCHLD, lambda *_: self._bury())  # at once: nothing lies about as a zombie

    def numbers(self) -> dict[int, int]:
        """Pid by number; those without one are left out."""
        return {number: pid for pid, number in self._living.items() if number is not None}

    def unnumbered(self) -> int:
        """How many live that have no number."""
        return sum(number is None for number in self._living.values())

    def ended(self) -> list[tuple[int | None, int]]:
        """Those that have ended since the last call: number, and exit code, negative for a signal."""
        dead, self._dead = self._dead, []
        return dead

    def begin(self, work: Callable[[], object], number: int | None = None) -> None:
        """A process that calls `work` and ends: 0, or 1 if it raises. It dies with its parent; SIGTERM waits until
        `work` has a handler for it and unblocks it, SIGINT is ignored.

        Raises:
            OSError: the machine has no room for one now.
        """
        parent = os.getpid()
        with _held_back(*_HELD_BACK):
            pid = os.fork()
            if pid == 0:
                _become(work, parent)
            self._living[pid] = number

    def wait(self, over: Callable[[], bool]) -> None:
        """Until `over`, asked whenever one has ended; a signal's handler may raise out of it."""
        while not over():
            with _held_back(signal.SIGCHLD):
                self._bury()
                if not over():
                    signal.sigtimedwait({signal.SIGCHLD}, _TICK_S)
                    self._bury()

    def _bury(self) -> None:
        """It may interrupt anything, so it does no more than it must."""
        for pid in tuple(self._living):
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue  # this very function, as the handler of a signal in the midst of itself
            if found:
                self._dead.append((self._living.pop(pid), os.waitstatus_to_exitcode(status)))


def aside(work: Callable[[], object]) -> None:
    """Has `work` done by a process of its own, and waits: what it takes of memory goes with it."""
    children = Children()
    children.begin(work)
    children.wait(lambda: not children.unnumbered())


def _become(work: Callable[[], object], parent: int) -> NoReturn:
    """The new process: nothing that is raised leaves it, or there would be two of the parent."""
    code = 1
    try:
        die_with_parent(parent)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # and blocked until somebody has a handler for it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGINT})
        work()
        code = 0
    except Exception:
        _logger.exception("a process failed")
    finally:
        os._exit(code)


@contextmanager
def _held_back(*signals: signal.Signals) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
