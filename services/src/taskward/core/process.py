"""One life of one process: its pid and the time it started, which no later process can repeat; and its end."""

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

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
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def this_life() -> str:
    """``pid-start`` of the calling process: what a run record names as its owner."""
    return f"{os.getpid()}-{start_time(os.getpid())}"


def is_alive(life: str) -> bool:
    """Whether the process that `life` (``…-pid-start``) names is the one that runs now under that pid."""
    parts = life.rsplit("-", 2)[-2:]
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return False
    return start_time(int(parts[0])) == int(parts[1])
