"""Finds and makes the places of mounts, with the rights of the task's user.

Below the task directory no symbolic link is followed: what an archive brought there shall not lead a later mount
elsewhere. Outside of it the system's own links (``/var/run``) are as good as anywhere.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Final

from taskward.executor.mounts.errands import Refused

_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_COPY_BYTES: Final = 1 << 26


class Places:
    """Places of one task; `home` is its directory."""

    def __init__(self, home: str) -> None:
        self._home = home

    def directory(self, place: str) -> tuple[int, bool]:
        """A descriptor of the directory at `place`, made if it was not there, and whether it is empty.

        Raises:
            Refused: it cannot be made, or something else is there.
        """
        if place == self._home:
            fd = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        else:
            with self._parent(place) as (parent, name):
                fd = self._enter(parent, name, place, make=0o700, flags=os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return fd, not os.listdir(fd)  # noqa: PTH208 - by descriptor

    @contextmanager
    def new_file(self, place: str) -> Iterator[int]:
        """A descriptor to write to; what was written is at `place` afterwards, in place of any other file.

        Raises:
            Refused: no file can be there.
        """
        if place == self._home:
            raise Refused(f"cannot mount file at path {place} since it already exists as a directory")
        with self._parent(place) as (parent, name):
            self._refuse_other_than_file(parent, name, place)
            draft = f".mount-{secrets.token_hex(8)}"
            with _explained(place):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(draft, flags, 0o644, dir_fd=parent)
            try:
                yield fd
                with _explained(place):
                    os.rename(draft, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft, dir_fd=parent)
                raise
            finally:
                os.close(fd)

    @contextmanager
    def _parent(self, place: str) -> Iterator[tuple[int, str]]:
        """The directory that `place` is in, with all above it made, and the last part of the name."""
        if place == "/":
            raise Refused("cannot mount on /, which is not the task's")
        inside = place.startswith(f"{self._home}/")
        top = self._home if inside else "/"
        *above, name = PurePosixPath(place).relative_to(top).parts
        fd, at = os.open(top, _DIRECTORY), top.rstrip("/")
        try:
            for part in above:
                at = f"{at}/{part}"
                deeper = self._enter(fd, part, at, make=0o755, flags=_DIRECTORY, follow=not inside)
                os.close(fd)
                fd = deeper
            yield fd, name
        finally:
            os.close(fd)

    @staticmethod
    def _enter(parent: int, name: str, place: str, *, make: int, flags: int, follow: bool = False) -> int:
        with _explained(place):
            with contextlib.suppress(FileExistsError):
                try:
                    os.mkdir(name, make, dir_fd=parent)
                except OSError as error:
                    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM) or not _exists(name, parent):
                        raise
            return os.open(name, flags | (0 if follow else os.O_NOFOLLOW), dir_fd=parent)

    @staticmethod
    def _refuse_other_than_file(parent: int, name: str, place: str) -> None:
        try:
            with _explained(place):
                mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except Refused as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return
            raise
        if stat.S_ISDIR(mode):
            raise Refused(f"cannot mount file at path {place} since it already exists as a directory")
        if not stat.S_ISREG(mode):
            raise Refused(f"cannot mount file at path {place} since something other than a file is there")


def copy(source: int, target: int) -> None:
    """All of `source` to the end of `target`, inside the kernel.

    Raises:
        OSError: it cannot be written.
    """
    at, size_bytes = 0, os.fstat(source).st_size
    while at < size_bytes:
        try:
            sent = os.copy_file_range(source, target, min(_COPY_BYTES, size_bytes - at), at)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            sent = os.sendfile(target, source, at, min(_COPY_BYTES, size_bytes - at))
        if not sent:
            return
        at += sent


@contextmanager
def _explained(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            why = "it, or a directory above it, is a symbolic link or no directory"
        else:
            why = f"{error.strerror} (it is made with the rights of the task's user)"
        raise Refused(f"cannot make {place}: {why}") from error


def _exists(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent)
    except OSError:
        return False
    return True
