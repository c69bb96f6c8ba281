"""How many processes a task may have where nobody has set a limit: never all that the machine can have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

_KERNEL: Final = (Path("/proc/sys/kernel/pid_max"), Path("/proc/sys/kernel/threads-max"))
_SHARE: Final = 4
_MOST: Final = 16384
"""In a container the kernel may tell of more numbers than the machine has."""


def most_processes(pids_limit: int, limits: Sequence[Path] = _KERNEL) -> int:
    """`pids_limit`, or a quarter of what the machine can have, at most 16384: a fork bomb must not end all tasks."""
    return pids_limit or min(_MOST, *(int(path.read_text()) // _SHARE for path in limits))
