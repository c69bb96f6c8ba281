"""Calls that outlast a restart of Taskcluster: the task goes on meanwhile, and who watches it wants to see the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

LONGEST_S: Final = 300.0
_PAUSE_S: Final = 2.0
T = TypeVar("T")


@dataclass(frozen=True)
class Insistence:
    """Repeats what reads only, for up to five minutes without an answer.

    Attributes:
        tell: is told once, when the answers begin to fail.
        pause: waits so many seconds.
        clock: in seconds.
    """

    tell: Callable[[str], object]
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def ask(self, call: Callable[[], T]) -> T:
        """What `call` returns; what it raised last, if Taskcluster does not answer, or is in trouble, for so long."""
        from taskcluster.exceptions import TaskclusterConnectionError, TaskclusterRestFailure

        failed_s: float | None = None
        while True:
            try:
                return call()
            except (TaskclusterConnectionError, TaskclusterRestFailure) as error:
                if isinstance(error, TaskclusterRestFailure) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                if failed_s is None:
                    failed_s = self.clock()
                    self.tell(f"Taskcluster does not answer; trying again for {LONGEST_S / 60:.0f} minutes")
                if self.clock() - failed_s > LONGEST_S:
                    raise
            self.pause(_PAUSE_S)


SILENT: Final = Insistence(lambda _text: None)
