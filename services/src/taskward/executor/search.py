"""What is at a path that a payload names, seen with the rights of the task's user.

A symbolic link is followed to wherever a path of the payload may lead: into the task directory and, where tasks have
users of their own, to everything that this user may read but the worker's own state and the kernel's file systems. A
directory behind a link, and what is neither file nor directory, is no artifact. Nothing is opened before it is known to
be a regular file, and never so that opening could block.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from taskward.core.outbox import ErrorReason
from taskward.executor.names import LONGEST_NAME

_MISSING: Final = (errno.ENOENT, errno.ENOTDIR)
_NO_FILES: Final = ("/proc/", "/sys/")  # what the kernel makes up while it is read, some of it without end


@dataclass(frozen=True)
class Found:
    """A file that a request led to, or why there is none.

    Attributes:
        relative: path below the requested directory; empty for the requested file or directory itself.
        path: where it is, without symbolic links when it can be read.
        size_bytes, device, inode: of the file.
        reason: empty for a file that can be read.
        message: for people, with `reason`.
    """

    relative: str
    path: str
    size_bytes: int = 0
    device: int = 0
    inode: int = 0
    reason: ErrorReason | Literal[""] = ""
    message: str = ""


class Search:
    """Finds files; to be used with the rights of the task's user."""

    def __init__(self, home: Path, state_dir: Path, absolute_allowed: bool) -> None:
        self._home = home
        self._real_home, self._real_state = os.path.realpath(home), os.path.realpath(state_dir)
        self._absolute_allowed = absolute_allowed

    def find(self, kind: str, path: str, most: int) -> Iterator[Found]:
        """See `Reader.find`."""
        place = os.path.normpath(self._home / path)
        parent = os.path.realpath(Path(place).parent)
        if not (_inside(place, str(self._home)) or place == str(self._home)) and not self._may_give(f"{parent}/x"):
            yield _invalid("", place, f"'{path}' is outside of the task directory {self._home}")
        elif kind == "file":
            yield self._file("", place)
        else:
            yield from self._directory(place, most)

    def _may_give(self, real: str) -> bool:
        """Whether something may be taken from that place, given without symbolic links, if the task can read it."""
        if _inside(real, self._real_home) or real == self._real_home:
            return True
        is_ours = _inside(real, self._real_state) or _inside(self._real_state, real) or real == self._real_state
        return self._absolute_allowed and not is_ours and not f"{real}/".startswith(_NO_FILES)

    def _file(self, relative: str, place: str) -> Found:
        try:
            found, real = Path(place).stat(), os.path.realpath(place)
        except OSError as error:
            return _unreadable("file", relative, place, error)
        if not self._may_give(real):
            return _invalid(relative, place, _leads_away(place, real))
        if stat.S_ISDIR(found.st_mode):
            return _invalid(relative, place, self._is_directory(relative, place))
        return self._readable(relative, place, real, found)

    @staticmethod
    def _readable(relative: str, place: str, real: str, found: os.stat_result) -> Found:
        if not stat.S_ISREG(found.st_mode):
            return _invalid(relative, place, f"'{place}' is {_kind(found.st_mode)}, not a regular file")
        try:
            os.close(open_regular(real))
        except OSError as error:
            return _unreadable("file", relative, place, error)
        return Found(relative, real, found.st_size, found.st_dev, found.st_ino)

    @staticmethod
    def _is_directory(relative: str, place: str) -> str:
        if relative:
            return f"Error processing file '{place}' as artifact: it is a symbolic link to a directory"
        return f"File artifact '{place}' exists as a directory, not a file, on the worker"

    def _directory(self, place: str, most: int) -> Iterator[Found]:
        try:
            found, real = Path(place).stat(), os.path.realpath(place)
        except OSError as error:
            yield _unreadable("directory", "", place, error)
            return
        if not stat.S_ISDIR(found.st_mode):
            text = f"Directory artifact '{place}' exists as a file, not a directory, on the worker"
            yield _invalid("", place, text)
        elif not self._may_give(real):
            yield _invalid("", place, _leads_away(place, real))
        else:
            yield from self._walk(real, most)

    def _walk(self, top: str, most: int) -> Iterator[Found]:
        waiting, given = [""], 0
        while waiting and given < most:
            relative = waiting.pop()
            try:
                with os.scandir(os.path.join(top, relative)) as listing:  # noqa: PTH118 - text, may be no valid Unicode
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                yield _unreadable("directory", relative, f"{top}/{relative}", error)
                given += 1
                continue
            below = []
            for entry in entries:
                path = f"{relative}/{entry.name}" if relative else entry.name
                if len(path) <= LONGEST_NAME and _is_directory(entry):
                    below.append(path)
                elif given < most:
                    given += 1
                    yield self._entry(entry, path, f"{top}/{path}")
            waiting += reversed(below)

    def _entry(self, entry: "os.DirEntry[str]", relative: str, place: str) -> Found:
        """What is no link, in a directory that was reached through none, is where it seems to be."""
        try:
            if entry.is_symlink() or entry.is_dir():
                return self._file(relative, place)
            return self._readable(relative, place, place, entry.stat(follow_symlinks=False))
        except OSError as error:  # a directory may be listed whose entries may not be looked at
            return _unreadable("file", relative, place, error)


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # it may not be looked at; then it is told as a file that cannot be read
        return False


def _inside(path: str, base: str) -> bool:
    return path.startswith(f"{base.rstrip('/')}/")


def _leads_away(place: str, real: str) -> str:
    return f"'{place}' leads to '{real}', from where nothing is taken"


def _invalid(relative: str, path: str, message: str) -> Found:
    return Found(relative, path, reason="invalid-resource-on-worker", message=message)


def _unreadable(kind: str, relative: str, path: str, error: OSError) -> Found:
    if error.errno in _MISSING:
        text = f"Could not read {kind} '{path}'"
        return Found(relative, path, reason="file-missing-on-worker", message=text)
    if error.errno in (errno.EACCES, errno.EPERM):
        text = f"Could not read {kind} '{path}' as task user: {error.strerror}"
        return Found(relative, path, reason="file-not-readable-on-worker", message=text)
    return _invalid(relative, path, f"Could not stat '{path}': {error.strerror}")


def _kind(mode: int) -> str:
    names = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return names.get(stat.S_IFMT(mode), "special")


def open_regular(path: str | Path, directory: int | None = None) -> int:
    """A descriptor of a regular file; never blocks, follows no link.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(path, flags, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file")
    return fd
