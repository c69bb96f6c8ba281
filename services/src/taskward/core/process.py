"""One life of one process: pid namespace, pid and time of start, which no later process can repeat; and its end."""

import ctypes
import os
import re
import signal
from pathlib import Path
from typing import Final

from taskward.core.locks import is_locked

_LIFE: Final = re.compile(r"\d+-\d+-\d+")
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, sig: signal.Signals = signal.SIGKILL) -> None:
    """The calling process gets `sig` when its parent `parent` ends; ends at once if that has happened already."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # its name may be any bytes
    except OSError:
        return None
    return None if fields[0] in b"ZX" else int(fields[19])


def this_life() -> str:
    """``namespace-pid-start`` of the calling process: what a run record names as its owner.

    Each container has a pid namespace of its own, in which pids begin at 1: without it two would share a name.
    """
    return f"{_namespace()}-{os.getpid()}-{start_time(os.getpid())}"


def pid_here(life: str) -> int | None:
    """The pid of `life` (``…-namespace-pid-start``); None when that is no life, or one in another pid namespace."""
    parts = life.rsplit("-", 3)[-3:]
    if len(parts) != 3 or not all(part.isdigit() for part in parts) or parts[0] != _namespace():
        return None
    return int(parts[1])


def is_alive(life: str, proofs: Path) -> bool:
    """Whether the process that `life` names still runs.

    One of another container is not seen from here; as long as it lives it holds the lock `proofs`/`life`.
    """
    pid = pid_here(life)
    if pid is None:
        return bool(_LIFE.fullmatch(life)) and is_locked(proofs / life)
    return str(start_time(pid)) == life.rpartition("-")[2]


def _namespace() -> str:
    """The number of this process's pid namespace; no two that exist have the same."""
    return str(Path("/proc/self/ns/pid").stat().st_ino)
