"""What is sent: bytes with a known length that give their hashes away when they have been poured out.

A hash is taken of exactly the bytes that go out (or into gzip), in the same read, and only where somebody wants it: it
costs as much time as to send them. Nothing is ever held whole in memory but small files.
"""

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Protocol

from taskward.core.outcome import exception
from taskward.uploader.errors import ArtifactLost

CHUNK_BYTES: Final = 1 << 19
_BUFFERS: Final = 16
_hashers: Final = ThreadPoolExecutor(64, "hash")

UNHASHED: Final = ()
FOR_SIGNER: Final = ("sha256",)
FOR_OBJECT_SERVICE: Final = ("sha256", "sha512")

Send = Callable[[memoryview], None]


@dataclass(frozen=True)
class Digest:
    """Size of content before any encoding, and the hashes that were asked for, by name."""

    size_bytes: int
    hashes: Mapping[str, str]


class Body(Protocol):
    """Content ready to be sent, more than once if need be; used by one thread at a time."""

    length: int

    def pour(self, send: Send) -> Digest:
        """Hands all of it to `send`, piece by piece, always `length` bytes.

        Raises:
            ArtifactLost: the file is not what the index says; fewer bytes were sent, so the request must be dropped.
        """
        ...

    def close(self) -> None:
        """Frees what it holds."""
        ...


class Hasher:
    """The hashes of these names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._hashes = {name: hashlib.new(name) for name in names}
        self._size = 0

    def update(self, piece: memoryview | bytes) -> None:
        """More content."""
        for each in self._hashes.values():
            each.update(piece)
        self._size += len(piece)

    def digest(self) -> Digest:
        """Of all content so far."""
        return Digest(self._size, {name: each.hexdigest() for name, each in self._hashes.items()})


class FileBody:
    """A file as it is; a large one is hashed by a second thread while it is sent."""

    def __init__(self, path: Path, length: int, hashes: Sequence[str]) -> None:
        self.length, self._path, self._hashes = length, path, hashes
        self._fd = open_file(path)

    def pour(self, send: Send) -> Digest:
        """See `Body`."""
        hasher = Hasher(self._hashes)
        if self.length <= CHUNK_BYTES or not self._hashes:
            buffer = memoryview(bytearray(min(self.length + 1, CHUNK_BYTES)))
            for piece in read_exactly(self._fd, self.length, self._path, repeat(buffer)):
                hasher.update(piece)
                send(piece)
            return hasher.digest()
        return self._pour_beside(hasher, send)

    def _pour_beside(self, hasher: Hasher, send: Send) -> Digest:
        """Hashes in another thread, which may lag behind by all buffers; those that are warm are used again first."""
        room, work, spare = threading.Semaphore(_BUFFERS), SimpleQueue[memoryview | None](), list[memoryview]()
        digest = _hashers.submit(_hash, hasher, work, spare, room)

        def buffers() -> Iterator[memoryview]:
            while room.acquire():
                yield spare.pop() if spare else memoryview(bytearray(CHUNK_BYTES))

        try:
            for piece in read_exactly(self._fd, self.length, self._path, buffers()):
                send(piece)
                work.put(piece)
        finally:
            work.put(None)
        return digest.result()

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)


def _hash(
    hasher: Hasher, work: "SimpleQueue[memoryview | None]", spare: list[memoryview], room: threading.Semaphore
) -> Digest:
    while (piece := work.get()) is not None:
        hasher.update(piece)
        spare.append(memoryview(piece.obj))
        room.release()
    return hasher.digest()


def open_file(path: Path) -> int:
    """A descriptor of a regular file that is no link.

    Raises:
        ArtifactLost: it is gone, or something else.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise lost(path, error.strerror or str(error)) from error
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise lost(path, "not a regular file")


def read_exactly(fd: int, length: int, path: Path, buffers: Iterator[memoryview]) -> Iterator[memoryview]:
    """The file from its start, in pieces, each in the next of the buffers.

    The last piece comes only after the end of the file has been seen: a file that has grown is never sent whole.

    Raises:
        ArtifactLost: the file is longer or shorter than `length`, or cannot be read.
    """
    at = 0
    while at < length:
        view = next(buffers)
        got = _read(fd, view, at, path)
        at += got
        if got == 0 or at > length or (at == length and _read(fd, memoryview(bytearray(1)), at, path)):
            raise lost(path, f"{os.fstat(fd).st_size} bytes long, {length} were collected")
        yield view[:got]
    if length == 0 and os.fstat(fd).st_size:
        raise lost(path, f"{os.fstat(fd).st_size} bytes long, 0 were collected")


def _read(fd: int, view: memoryview, at: int, path: Path) -> int:
    try:
        return os.preadv(fd, [view], at)
    except OSError as error:
        raise lost(path, f"cannot be read: {error.strerror}") from error


def lost(path: Path, why: str) -> ArtifactLost:
    """The worker has lost a file that it had collected."""
    return ArtifactLost(exception("internal-error", f"collected file {path.name}: {why}"))
