"""Looks at a task's files with the task's own rights: what is there, and is it the task's to give?

`serve` runs in a process of the task's user, so whatever that user may not read, the worker does not read for it. It
answers one request after the other on a SOCK_SEQPACKET socket; `Reader` is the other end.

A symbolic link is followed when what it leads to lies inside the task directory (or, for an absolute path, beside the
artifact); a link that leads elsewhere, a directory behind a link, and everything that is neither file nor directory is
no artifact. Nothing is opened before it is known to be a regular file, and never so that opening could block.
"""

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from socket import recv_fds, send_fds, socket
from typing import Any, Final, Literal, Self

from taskward.core.outbox import ErrorReason
from taskward.executor.errors import EngineFailed
from taskward.executor.names import LONGEST_NAME

_LARGEST_MESSAGE: Final = 1 << 17
_LONGEST_PATH: Final = 4096
_TIMEOUT_S: Final = 300.0
_MISSING: Final = (errno.ENOENT, errno.ENOTDIR)


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


@dataclass(frozen=True)
class Opened:
    """A file that the task's user could open, and the directory that it is in; the caller closes both."""

    file: int
    directory: int
    name: str


class Reader:
    """The worker's end; one request at a time."""

    def __init__(self, connection: socket) -> None:
        self._socket = connection
        connection.settimeout(_TIMEOUT_S)

    def find(self, kind: Literal["file", "directory"], path: str, most: int) -> Iterator[Found]:
        """What is at `path`, relative to the task directory or absolute: a file, or all files below a directory.

        Ends after `most` answers. Must be read to its end before the next request.

        Raises:
            EngineFailed: the other end is gone.
        """
        if len(os.fsencode(path)) > _LONGEST_PATH:
            text = f"the path has more than {_LONGEST_PATH} bytes"
            yield Found("", path[:_LONGEST_PATH], reason="invalid-resource-on-worker", message=text)
            return
        self._ask({"find": kind, "path": path, "most": most})
        while answer := self._answer()[0]:
            yield Found(**answer)

    def open(self, path: str) -> Opened:
        """Opens a file that was found.

        Raises:
            OSError: the task's user cannot (any more).
            EngineFailed: the other end is gone.
        """
        self._ask({"open": path})
        answer, descriptors = self._answer()
        if not descriptors:
            raise OSError(answer["errno"], answer["text"], path)
        return Opened(descriptors[0], descriptors[1], Path(path).name)

    def close(self) -> None:
        """Ends the process at the other end."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> None:
        try:
            self._socket.send(json.dumps(request).encode())
        except OSError as error:
            raise EngineFailed(f"the process that reads the task's files: {error}") from error

    def _answer(self) -> tuple[dict[str, Any], list[int]]:
        try:
            data, descriptors, _, _ = recv_fds(self._socket, _LARGEST_MESSAGE, 2)
        except OSError as error:
            raise EngineFailed(f"the process that reads the task's files: {error}") from error
        if not data:
            raise EngineFailed("the process that reads the task's files ended")
        return json.loads(data), descriptors


def serve(home: Path, state_dir: Path, absolute_allowed: bool) -> Callable[[socket], None]:
    """What to call as the task's user: answers until the other end closes.

    Args:
        home: the task directory.
        state_dir: where no path may lead, except into `home`.
        absolute_allowed: whether artifacts may lie outside of `home`.
    """

    def answer(connection: socket) -> None:
        search = Search(home, state_dir, absolute_allowed)
        while data := connection.recv(_LARGEST_MESSAGE):
            request = json.loads(data)
            if "open" in request:
                _send_opened(connection, request["open"])
                continue
            for found in search.find(request["find"], request["path"], request["most"]):
                connection.send(json.dumps(asdict(found)).encode())
            connection.send(b"{}")

    return answer


def _send_opened(connection: socket, path: str) -> None:
    directory, file = -1, -1
    try:
        directory = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        file = _open(Path(path).name, directory)
        send_fds(connection, [b"{}"], [file, directory])
    except OSError as error:
        connection.send(json.dumps({"errno": error.errno, "text": error.strerror}).encode())
    finally:
        for descriptor in (file, directory):
            if descriptor >= 0:
                os.close(descriptor)


def _open(path: str | Path, directory: int | None = None) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(path, flags, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file")
    return fd


class Search:
    """Finds files; to be used with the rights of the task's user."""

    def __init__(self, home: Path, state_dir: Path, absolute_allowed: bool) -> None:
        self._home = home
        self._real_home, self._real_state = os.path.realpath(home), os.path.realpath(state_dir)
        self._absolute_allowed = absolute_allowed

    def find(self, kind: str, path: str, most: int) -> Iterator[Found]:
        """See `Reader.find`."""
        place = os.path.normpath(self._home / path)
        base = self._base(place)
        if base is None:
            yield _invalid("", place, f"'{path}' is outside of the task directory {self._home}")
        elif kind == "file":
            yield self._file("", place, base)
        else:
            yield from self._directory(place, base, most)

    def _base(self, place: str) -> str | None:
        """Where everything that is found at `place` has to lie; None when nothing may be taken from there."""
        if _inside(place, str(self._home)) or place == str(self._home):
            return self._real_home
        real = os.path.realpath(Path(place).parent)
        is_ours = real == self._real_state or _inside(real, self._real_state) or _inside(self._real_state, place)
        return None if is_ours or not self._absolute_allowed else real

    def _file(self, relative: str, place: str, base: str) -> Found:
        try:
            found, real = Path(place).stat(), os.path.realpath(place)
        except OSError as error:
            return _unreadable("file", relative, place, error)
        if not (_inside(real, base) or real == base):
            text = f"'{place}' is a symbolic link that leaves the task directory, to '{real}'"
            return _invalid(relative, place, text)
        if stat.S_ISDIR(found.st_mode):
            return _invalid(relative, place, self._is_directory(relative, place))
        return self._readable(relative, place, real, found)

    @staticmethod
    def _readable(relative: str, place: str, real: str, found: os.stat_result) -> Found:
        if not stat.S_ISREG(found.st_mode):
            return _invalid(relative, place, f"'{place}' is {_kind(found.st_mode)}, not a regular file")
        try:
            os.close(_open(real))
        except OSError as error:
            return _unreadable("file", relative, place, error)
        return Found(relative, real, found.st_size, found.st_dev, found.st_ino)

    @staticmethod
    def _is_directory(relative: str, place: str) -> str:
        if relative:
            return f"Error processing file '{place}' as artifact: it is a symbolic link to a directory"
        return f"File artifact '{place}' exists as a directory, not a file, on the worker"

    def _directory(self, place: str, base: str, most: int) -> Iterator[Found]:
        try:
            found, real = Path(place).stat(), os.path.realpath(place)
        except OSError as error:
            yield _unreadable("directory", "", place, error)
            return
        if not stat.S_ISDIR(found.st_mode):
            text = f"Directory artifact '{place}' exists as a file, not a directory, on the worker"
            yield _invalid("", place, text)
        elif not (_inside(real, base) or real == base == self._real_home):
            yield _invalid("", place, f"'{place}' is a symbolic link that leaves the task directory, to '{real}'")
        else:
            yield from self._walk(real, base, most)

    def _walk(self, top: str, base: str, most: int) -> Iterator[Found]:
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
                if entry.is_dir(follow_symlinks=False) and len(path) <= LONGEST_NAME:
                    below.append(path)
                elif given < most:
                    given += 1
                    yield self._entry(entry, path, f"{top}/{path}", base)
            waiting += reversed(below)

    def _entry(self, entry: "os.DirEntry[str]", relative: str, place: str, base: str) -> Found:
        """What is no link, in a directory that was reached through none, is where it seems to be."""
        if entry.is_symlink() or entry.is_dir():
            return self._file(relative, place, base)
        return self._readable(relative, place, place, entry.stat(follow_symlinks=False))


def _inside(path: str, base: str) -> bool:
    return path.startswith(f"{base.rstrip('/')}/")


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
