"""Things of which each run has one for itself; the kernel gives them back when the process of the run ends."""

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Slot:
    """One thing, until `close`."""

    name: str
    lock: int

    def close(self) -> None:
        """Somebody else may have it."""
        os.close(self.lock)


def take(directory: Path, names: Iterable[str]) -> Slot | None:
    """The first of `names` that nobody has; `directory` holds a file for each. None when all are taken."""
    for name in names:
        lock = try_lock(directory, name)
        if lock is not None:
            return Slot(name, lock)
    return None


def try_lock(directory: Path, name: str) -> int | None:
    """The descriptor that holds the lock of one thing; None when somebody else does."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
