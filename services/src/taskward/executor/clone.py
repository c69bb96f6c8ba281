"""fork() straight into a control group: to join one afterwards costs 10 ms (an RCU grace period).

``clone3`` (Linux 5.7) with ``CLONE_INTO_CGROUP``; where the kernel or its filter refuses it, a plain fork, with
patience: what else runs on the machine may leave it without processes or memory for a moment.
"""

import ctypes
import errno
import os
import random
import signal
import struct
import time
from collections.abc import Callable
from typing import Final

_SYS_CLONE3: Final = 435  # the same on every architecture
_CLONE_INTO_CGROUP: Final = 0x2_0000_0000
NO_ROOM: Final = frozenset({errno.EAGAIN, errno.ENOMEM})
"""Error numbers of a machine that can start no further process now."""

_ATTEMPTS: Final = 15
_PAUSE_S: Final = 0.1
_libc: Final = ctypes.PyDLL(None, use_errno=True)  # PyDLL: nothing else of the interpreter runs meanwhile


def fork_into(cgroup_fd: int) -> int | None:
    """Like `os.fork`, with the child in the version 2 control group of that open directory; None where impossible."""
    arguments = struct.pack("<11Q", _CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, cgroup_fd)
    buffer = ctypes.create_string_buffer(arguments, len(arguments))
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_libc.syscall(_SYS_CLONE3, buffer, len(arguments)))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    return pid if pid > 0 else None


def fork(cgroup: str) -> tuple[int, bool]:
    """`os.fork`, into the version 2 control group `cgroup` (a directory) when possible; the pid and whether it was."""
    if cgroup:
        fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            pid = fork_into(fd)
        finally:
            os.close(fd)
        if pid is not None:
            return pid, True
    return fork_patiently(), False


def fork_patiently(fork: Callable[[], int] = os.fork, pause: Callable[[float], None] = time.sleep) -> int:
    """`os.fork`, again and again for some ten seconds as long as there is no room for a further process.

    Raises:
        OSError: there is none; of `NO_ROOM`, there may be later.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return fork()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
        pause(_PAUSE_S * (attempt + 1) * random.uniform(0.5, 1))  # noqa: S311 - jitter
    return fork()
