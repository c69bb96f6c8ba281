"""Opens logs safely and tells how far they have grown.

A path comes from Redis and is not trusted: it is followed only below the configured folder, one component at a time,
through no symbolic link, to a regular file. Whatever is planted there, no other file is ever served.
"""

import errno
import os
import stat
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final, Self

from taskward.gateway.errors import LogRefused
from taskward.gateway.extent import last_lines_start

DONE: Final = "done"
"""The empty file beside a log which says that nothing will be added any more."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def components(logs_dir: Path, path: str) -> tuple[str, ...]:
    """The names that lead from `logs_dir` to the log `path`: one folder or more, then the file.

    Raises:
        LogRefused: the path leads elsewhere.
    """
    if "\0" in path or not path.startswith("/"):
        raise LogRefused(f"{path[:200]!r} is not an absolute path")
    try:
        parts = PurePosixPath(path).relative_to(logs_dir).parts
    except ValueError:
        raise LogRefused(f"{path[:200]!r} is not below logs_dir {str(logs_dir)!r}") from None
    if len(parts) < 2 or ".." in parts:
        raise LogRefused(f"{path[:200]!r} does not name a file in a folder below logs_dir {str(logs_dir)!r}")
    return parts


class LogFile:
    """One log, open or still to come. Not thread-safe: each thread opens its own.

    `refresh` brings the attributes up to date; between two calls they do not change and fit together:

    - `fd`: descriptor for reading at any offset (pread, sendfile); None as long as the file is not there;
    - `size_bytes`: its size;
    - `shrinkages`: how often it was found shorter than before (a task can cut its log where nothing prevents that);
    - `finished`: nothing will be added: what `size_bytes` says is all.
    """

    def __init__(self, logs_dir: Path, parts: tuple[str, ...]) -> None:
        self._logs_dir = logs_dir
        self._parts = parts
        self._folder: int | None = None
        self.fd: int | None = None
        self.size_bytes = 0
        self.shrinkages = 0
        self.finished = False

    def refresh(self) -> None:
        """Look at the file again; two system calls once it is open.

        Raises:
            LogRefused: it is not a regular file, or may not be read, or the path leads through a link.
        """
        if self.fd is None:
            self._open()
        # "done" is looked for before the size is taken: what is in the file by then is everything
        done = self._folder is not None and _exists(self._folder, DONE)
        if self.fd is not None:
            status = os.fstat(self.fd)
            self.shrinkages += status.st_size < self.size_bytes
            self.size_bytes = status.st_size
            done = done or status.st_nlink == 0  # deleted: nobody can add to it, and no "done" will appear
        self.finished = done

    def line_start(self, count: int) -> int:
        """Where the last `count` lines begin, as of the last `refresh`."""
        fd = self.fd
        if fd is None:
            return 0
        return last_lines_start(lambda offset, length: os.pread(fd, length, offset), self.size_bytes, count)

    def close(self) -> None:
        """Close what is open; repeating it is harmless."""
        for fd in (self.fd, self._folder):
            if fd is not None:
                os.close(fd)
        self.fd = self._folder = None

    def _open(self) -> None:
        """Open folder and file as far as they exist."""
        self.close()
        try:
            self._folder = _open_folder(self._logs_dir, self._parts[:-1])
            self.fd = _open_regular(self._folder, self._parts[-1])
        except FileNotFoundError:
            return  # the task is still being prepared
        except OSError as error:
            self.close()
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO):
                raise
            raise LogRefused(f"{'/'.join(self._parts)}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open_folder(root: Path, names: tuple[str, ...]) -> int:
    """A descriptor of the folder that `names` lead to; `root` is configured, hence may be a link."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in names:
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _open_regular(folder: int, name: str) -> int:
    """A descriptor of a regular file; anything else is refused before it is opened (opening a device may act)."""
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise LogRefused(f"{name!r} is not a regular file")
    fd = os.open(name, _FILE, dir_fd=folder)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise LogRefused(f"{name!r} is not a regular file")


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
