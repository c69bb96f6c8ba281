"""What keyholder and signer give up before they touch anything worth having."""

import ctypes
import errno
import logging
import os
import platform
import resource
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_CLONE_NEWNET: Final = 0x40000000
_MAX_OPEN_FILES: Final = 256

# linux/bpf_common.h, linux/seccomp.h and linux/audit.h
_LOAD_WORD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_GREATER_OR_EQUAL: Final = 0x35
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_DENY: Final = 0x00050000 | errno.EACCES
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_FIRST_ARGUMENT = 0, 4, 16
_X32_BIT: Final = 0x40000000
_IO_URING_SETUP: Final = 425
_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Machine -> (audit name of the architecture, number of the system call ``socket``)."""


def drop_privileges() -> tuple[str, ...]:
    """No core dump, no debugger of the same user, no set-uid program: for this process and its children, for good.

    Returns what this system did not allow, in words for the log; correct work does not depend on any of it. Call
    it before any thread is started.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(_MAX_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return _attempt(
        {
            "no new privileges": lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1),
            "not dumpable": lambda: _prctl(_PR_SET_DUMPABLE, 0),
        }
    )


def leave_network() -> tuple[str, ...]:
    """No network any more, after `drop_privileges`: a system call filter needs that. Either of two ways is enough.

    Returns what this system did not allow, in words for the log, when neither way is open to this process; else logs
    what holds. An empty namespace takes root, or a manager that has made one for this process.
    """
    attempts = {
        "an empty network namespace (needs root)": _leave_network,
        "sockets of the Unix family only": _forbid_network_sockets,
    }
    missing = _attempt(attempts)
    if len(missing) == len(attempts):
        return missing
    held = [name for name in attempts if not any(text.startswith(name) for text in missing)]
    _log.info("off the network by %s", " and by ".join(name.partition(" (")[0] for name in held))
    return ()


def die_with(parent: int) -> None:
    """This process, a fork of `parent`, ends when that one does."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _attempt(attempts: Mapping[str, Callable[[], str]]) -> tuple[str, ...]:
    return tuple(f"{name}: {failure}" for name, attempt in attempts.items() if (failure := attempt()))


def _leave_network() -> str:
    failure = _outcome(_libc().unshare(_CLONE_NEWNET))
    return "" if _devices() <= {"lo"} else failure


def _devices() -> frozenset[str]:
    """Those of this process's network: whoever started it may have seen to that (systemd: ``PrivateNetwork=``)."""
    try:
        lines = Path("/proc/self/net/dev").read_text().splitlines()
    except OSError:
        return frozenset({"unknown"})
    return frozenset(line.partition(":")[0].strip() for line in lines if ":" in line)


def _forbid_network_sockets() -> str:
    """A seccomp filter: ``socket`` makes Unix sockets only; io_uring, which could make others, is closed."""
    if platform.machine() not in _ARCHITECTURES:
        return f"not written for {platform.machine()}"
    architecture, socket_call = _ARCHITECTURES[platform.machine()]
    program = b"".join(
        struct.pack("=HBBI", *step)
        for step in (
            (_LOAD_WORD, 0, 0, _OFFSET_ARCHITECTURE),
            (_JUMP_EQUAL, 0, 7, architecture),  # another ABI has other numbers: deny
            (_LOAD_WORD, 0, 0, _OFFSET_NUMBER),
            (_JUMP_GREATER_OR_EQUAL, 5, 0, _X32_BIT),
            (_JUMP_EQUAL, 4, 0, _IO_URING_SETUP),
            (_JUMP_EQUAL, 0, 2, socket_call),
            (_LOAD_WORD, 0, 0, _OFFSET_FIRST_ARGUMENT),
            (_JUMP_EQUAL, 0, 1, socket.AF_UNIX),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _DENY),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    return _outcome(_libc().prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0))


def _prctl(option: int, value: int) -> str:
    return _outcome(_libc().prctl(option, value, 0, 0, 0))


def _outcome(result: int) -> str:
    return os.strerror(ctypes.get_errno()) if result else ""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
