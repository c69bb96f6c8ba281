"""fork() straight into a control group: to join one afterwards costs 10 ms (an RCU grace period).

``clone3`` (Linux 5.7) with ``CLONE_INTO_CGROUP``; where the kernel or its filter refuses it, a plain fork.
"""

import ctypes
import os
import signal
import struct
from typing import Final

_SYS_CLONE3: Final = 435  # the same on every architecture
_CLONE_INTO_CGROUP: Final = 0x2_0000_0000
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
    return os.fork(), False
