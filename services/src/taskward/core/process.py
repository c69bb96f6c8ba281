"""One life of one process: its pid and the time it started, which no later process can repeat."""

import os
from pathlib import Path


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
