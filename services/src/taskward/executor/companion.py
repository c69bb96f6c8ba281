"""Processes beside the job process: forked from it for what must go on while it waits, and gone when it is."""

import os
import signal
from collections.abc import Callable
from typing import Final

from taskward.core.process import die_with_parent
from taskward.executor.clone import fork_patiently
from taskward.executor.spawn import Child
from taskward.executor.watch import readable

_STOPS_WITHIN_S: Final = 5.0


def companion(function: Callable[[], None], *closed: int) -> Child:
    """Calls `function` in a fork that lacks the descriptors `closed`, ignores SIGTERM and dies with the caller.

    Raises:
        OSError: there can be no further process.
    """
    parent = os.getpid()
    pid = fork_patiently()
    if pid == 0:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the job process, which got it too, decides
            die_with_parent(parent)
            for fd in closed:
                os.close(fd)
            function()
        finally:
            os._exit(0)
    return Child(pid)


def see_off(process: Child) -> None:
    """Waits for the end of a companion that was told to end; one that takes too long is killed."""
    if not readable(process, _STOPS_WITHIN_S):
        os.kill(process.pid, signal.SIGKILL)
        readable(process)
    process.ended()
