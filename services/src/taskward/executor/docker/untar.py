"""Takes the tar archive apart that the daemon makes of a path in a container. Runs with the rights of the run's user.

Nothing that the archive says becomes a path of this host: regular files get numbers as names, everything else is left
out, and the names are told to the worker, which gives them to artifacts. Holes stay holes, so a large sparse file
takes no room.
"""

import json
import os
import re
import resource
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from socket import recv_fds, socket
from typing import IO, Any, Final

from taskward.core.outbox import ErrorReason
from taskward.executor.mounts.confine import confine

LARGEST_MESSAGE: Final = 1 << 16
WRONG_TYPE: Final[ErrorReason] = "invalid-resource-on-worker"
TOO_LARGE: Final[ErrorReason] = "too-large-file-on-worker"
BROKEN: Final[ErrorReason] = "file-not-readable-on-worker"
_MEMORY_BYTES: Final = 4 << 30
_BLOCK_BYTES: Final = 1 << 20
_HOLE_BYTES: Final = 1 << 16
_ZEROS: Final = bytes(_HOLE_BYTES)
_LONGEST_NAME: Final = 4096
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9_+-]{1,16}")
_TYPES: Final = {
    tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.GNUTYPE_SPARSE: "file", tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "link", tarfile.CHRTYPE: "character-device",
    tarfile.BLKTYPE: "block-device", tarfile.FIFOTYPE: "fifo",
}  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """A file from the archive: `name` is relative to the path that was asked for (empty for that itself)."""

    name: str
    file: str
    size_bytes: int
    device: int
    inode: int


class Refused(Exception):
    """The archive is not what was asked for: `reason` is the queue's word for it."""

    def __init__(self, reason: ErrorReason, message: str) -> None:
        super().__init__(message)
        self.reason: ErrorReason = reason


@dataclass(frozen=True)
class Limits:
    """What an archive may have: bytes of all files together, and files."""

    most_bytes: int
    most_files: int


def untar(kind: str, limits: Limits) -> Callable[[socket], None]:
    """What to call as the run's user: takes the archive and an open directory, and tells what was taken.

    Args:
        kind: ``file`` or ``directory``: what the first entry must be.
        limits: of the archive.
    """

    def answer(connection: socket) -> None:
        _, (source, target), _, _ = recv_fds(connection, LARGEST_MESSAGE, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        os.fchdir(target)
        confine(target)
        with open(source, "rb", buffering=_BLOCK_BYTES) as stream:
            try:
                for taken in _take(stream, kind, limits):
                    _tell(connection, asdict(taken))
                _tell(connection, {})
            except Refused as refused:
                _tell(connection, {"reason": refused.reason, "message": str(refused)})
            except (tarfile.TarError, EOFError) as error:
                _tell(connection, {"reason": BROKEN, "message": f"broken archive: {error}"})
            except OSError as error:
                _tell(connection, {"reason": BROKEN, "message": error.strerror or str(error)})

    return answer


def _take(stream: IO[bytes], kind: str, limits: Limits) -> Iterator[Taken]:
    left_bytes, files, root = limits.most_bytes, 0, None
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK_BYTES, errorlevel=1) as archive:
        for member in archive:
            found = _TYPES.get(member.type, f"type {member.type!r}")
            if root is None:
                root = member.name.rstrip("/")
                if found != kind:
                    raise Refused(WRONG_TYPE, f'Expected artifact to be a "{kind}" but was "{found}"')
            vars(archive)["members"].clear()  # else it keeps them all
            if found != "file":
                continue
            if member.size > left_bytes:
                text = f"it is larger than {limits.most_bytes} bytes, the most that is allowed"
                raise Refused(TOO_LARGE, text)
            if files == limits.most_files:
                raise Refused(TOO_LARGE, f"it has more than {files} files, the most that are allowed")
            left_bytes -= member.size
            content = archive.extractfile(member)
            if content is not None:
                yield _write(content, member, root, files)
                files += 1


def _write(content: IO[bytes], member: tarfile.TarInfo, root: str, number: int) -> Taken:
    name = member.name[len(root) :].lstrip("/")
    suffix = _SUFFIX.fullmatch(PurePosixPath(member.name).suffix)
    file = f"{number}{suffix[0] if suffix else ''}"
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while block := content.read(_BLOCK_BYTES):
            _write_block(fd, memoryview(block))
        os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR))
        facts = os.fstat(fd)
    finally:
        os.close(fd)
    return Taken(name[:_LONGEST_NAME], file, facts.st_size, facts.st_dev, facts.st_ino)


def _write_block(fd: int, block: memoryview) -> None:
    for start in range(0, len(block), _HOLE_BYTES):
        part = block[start : start + _HOLE_BYTES]
        if part == _ZEROS[: len(part)]:
            os.lseek(fd, len(part), os.SEEK_CUR)
            continue
        while part:
            part = part[os.write(fd, part) :]


def _tell(connection: socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode())
