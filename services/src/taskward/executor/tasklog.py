"""The log of a run: one file that the task's processes write themselves, and the worker's own lines between theirs.

Everybody appends (O_APPEND), so lines interleave whole and nothing is copied. Where the file system allows, the file is
marked append-only while the task runs: its processes hold a descriptor, and could cut the log short otherwise.
"""

import contextlib
import fcntl
import logging
import os
import struct
from pathlib import Path
from typing import Final, Self

from taskward.core.clock import Clock, format_time, utc_now
from taskward.executor.ownership import give_to_group

LOG_FILE: Final = "live.log"
DONE_FILE: Final = "done"
LOG_GROUP: Final = "tw-logs"
_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IOC_SETFLAGS: Final = 0x40086602
_FS_APPEND_FL: Final = 0x20

_logger = logging.getLogger(__name__)


class TaskLog:
    """Appends the worker's lines; `fd` is what the task's processes get as standard output and error."""

    def __init__(self, path: Path, fd: int, clock: Clock = utc_now) -> None:
        self.path, self.fd, self._clock = path, fd, clock

    @classmethod
    def open(cls, directory: Path, clock: Clock = utc_now) -> Self:
        """The log in `directory`, made or continued; its group may read it.

        Raises:
            OSError: it cannot be made.
        """
        directory.mkdir(parents=True, exist_ok=True)
        give_to_group(directory, LOG_GROUP, 0o2750)
        path = directory / LOG_FILE
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o640)
        if os.fstat(fd).st_mode & 0o777 != 0o640:
            os.fchmod(fd, 0o640)
        return cls(path, fd, clock)

    def info(self, text: str) -> None:
        """``[taskcluster <time>] …``, on each line of `text`."""
        self._write(f"[taskcluster {format_time(self._clock())}] ", text)

    def warn(self, text: str) -> None:
        """``[taskcluster:warn <time>] …``."""
        self._write(f"[taskcluster:warn {format_time(self._clock())}] ", text)

    def error(self, text: str) -> None:
        """``[taskcluster:error] …``: what log parsers look for."""
        self._write("[taskcluster:error] ", text)

    @property
    def size_bytes(self) -> int:
        """Everything that was written so far."""
        return os.fstat(self.fd).st_size

    def protect(self) -> bool:
        """Marks the file append-only; False where the file system or our rights don't allow it."""
        return _append_only(self.fd, True)

    def cut(self, most_bytes: int) -> bool:
        """No more than its first `most_bytes` stay; whether it was longer.

        Append-only stops no task from making it longer at once (fallocate), with a hole that costs it nothing.
        """
        if self.size_bytes <= most_bytes:
            return False
        _append_only(self.fd, False)
        os.ftruncate(self.fd, most_bytes)
        self.protect()
        return True

    def finish(self) -> None:
        """No line follows: readers are told by the `done` file. Twice is harmless."""
        _append_only(self.fd, False)
        (self.path.parent / DONE_FILE).touch(0o640)

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self.fd)

    def _write(self, prefix: str, text: str) -> None:
        self._append("".join(f"{prefix}{line}\n" for line in text.split("\n")))

    def _append(self, text: str) -> None:
        """A full disk costs lines of the log, never the run."""
        data = text.encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError as error:
            _logger.warning("the task's log cannot be written", extra={"path": str(self.path), "reason": str(error)})


def unprotect(path: Path) -> None:
    """Lets a log be removed whose run ended without `TaskLog.finish`."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        _append_only(fd, False)
        os.close(fd)


def _append_only(fd: int, wanted: bool) -> bool:
    with contextlib.suppress(OSError):
        flags = int.from_bytes(fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8))[:4], "little")
        flags = flags | _FS_APPEND_FL if wanted else flags & ~_FS_APPEND_FL
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("<q", flags))
        return True
    return False
