"""How many processes a task may have where nobody has set a limit: never all that the machine can have."""

from pathlib import Path
from typing import Final

_PID_MAX: Final = Path("/proc/sys/kernel/pid_max")
_KERNELS_DEFAULT: Final = 32768
_SHARE: Final = 4


def most_processes(pids_limit: int, pid_max: Path = _PID_MAX) -> int:
    """`pids_limit`, or a quarter of the machine's process numbers: without one, a fork bomb ends all of its tasks."""
    if pids_limit:
        return pids_limit
    try:
        return int(pid_max.read_text()) // _SHARE
    except (OSError, ValueError):
        return _KERNELS_DEFAULT // _SHARE
