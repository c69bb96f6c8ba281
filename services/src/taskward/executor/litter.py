"""What a task may leave outside of its directory: objects of the kernel, and files where everybody may write."""

import contextlib
import ctypes
import logging
import os
import subprocess
from pathlib import Path
from typing import Final

_REMOVE_WITHIN_S: Final = 900
_CLONE_NEWIPC: Final = 0x0800_0000
_SHARED: Final = (
    "/tmp", "/tmp/.X11-unix", "/tmp/.ICE-unix", "/var/tmp", "/dev/shm",  # noqa: S108 - to clear them, not to use
    "/dev/mqueue", "/run/lock", "/run/user", "/var/crash", "/var/mail",
    "/var/spool/at", "/var/spool/cron", "/var/spool/cron/atjobs", "/var/spool/cron/crontabs",
)  # fmt: skip
_libc: Final = ctypes.CDLL(None, use_errno=True)

_logger = logging.getLogger(__name__)


def keep_objects_apart() -> None:
    """Gives this process and those that it starts shared memory, semaphores and message queues of their own.

    The kernel takes them away with the last of these processes, so nothing is left of a task and no other task sees
    them. Where the kernel refuses, tasks share them with the host.
    """
    if _libc.unshare(_CLONE_NEWIPC) != 0:
        reason = os.strerror(ctypes.get_errno())
        _logger.warning("the task's shared memory and message queues are the host's", extra={"reason": reason})


def remove_files(uid: int) -> None:
    """Removes what that user left where everybody may write; it never comes back to do so."""
    for path in (path for directory in _SHARED for path in _entries(Path(directory))):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_uid == uid:
                remove_tree(path)


def _entries(directory: Path) -> list[Path]:
    try:
        return [*directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove_tree(path: Path) -> None:
    """Everything at `path`, whatever a task has made of it: `rm` and `chmod` follow no link and bear any depth."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return
    except OSError:
        done = _run("rm", "-rf", "--one-file-system", "--", str(path))
        if done.returncode and os.geteuid() != 0:  # directories that nobody may change, as Go makes them for modules
            _run("chmod", "-R", "u+rwX", "--", str(path))
            done = _run("rm", "-rf", "--one-file-system", "--", str(path))
        if done.returncode:
            _logger.warning("directory not removed", extra={"path": str(path), "reason": done.stderr.strip()[:500]})


def _run(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, capture_output=True, text=True, timeout=_REMOVE_WITHIN_S, check=False)
