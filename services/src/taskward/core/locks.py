"""Proof of life: a worker holds an flock on ``<lock_dir>/<name>`` while it lives, and no two lives share a name.

A forked job process inherits the lock, so the kernel drops it only when both are gone: liveness without clocks or
heartbeats. The claimer reads the locks: it gives orphaned jobs back to their queue, counts the living, and claims
nothing that nobody could run. A worker that has been told to stop says so in its lock file.

Whoever can open the file can take the lock when its holder dies, and so keep the dead alive: the directories are closed
to all but the worker's own users (`core.layout`).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from taskward.core.space import patiently

STOPPING: Final = b"stopping"


def hold(lock_dir: Path, name: str) -> int:
    """Takes the lock `name`; the descriptor holds it until its last copy is closed.

    Locked first, published under its name afterwards: the reaper never sees it unlocked. A full disk is waited for.
    """
    hidden = lock_dir / f".{name}"
    fd = patiently(lambda: os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.fchmod(fd, 0o644)  # whatever the umask: the claimer looks at it; now that nobody else can lock it
    hidden.rename(lock_dir / name)
    return fd


@contextmanager
def held(lock_dir: Path, name: str) -> Iterator[None]:
    """Holds the lock `name` for the length of a block, and takes its file away; makes the directory if it must."""
    lock_dir.mkdir(parents=True, exist_ok=True)
    lock = hold(lock_dir, name)
    try:
        yield
    finally:
        (lock_dir / name).unlink(missing_ok=True)
        os.close(lock)


def say_stopping(lock: int) -> None:
    """The holder wants no new work."""
    os.pwrite(lock, STOPPING, 0)


def sweep(lock_dir: Path) -> None:
    """Removes the lock files of dead workers (names are never used twice); called when a worker starts."""
    for path in visible(lock_dir):
        if not is_locked(path):
            path.unlink(missing_ok=True)


def visible(lock_dir: Path) -> list[Path]:
    """The lock files that are published; hidden ones are about to be locked."""
    return [path for path in lock_dir.iterdir() if not path.name.startswith(".")]


def is_locked(path: Path) -> bool:
    """Whether a process (or its job process) still holds the lock file; False when it is gone or no file of ours."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def available(lock_dir: Path) -> int:
    """How many workers live and have not been told to stop."""
    return sum(is_locked(path) and path.read_bytes() != STOPPING for path in visible(lock_dir))
