"""Content whose length is known only when it is made (gzip, a log with its last lines), since storage wants it first.

Small results wait in memory, large ones in a spool file without a name.
"""

import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import IO, Final

from taskward.uploader.content import CHUNK_BYTES, Digest, Hasher, Send, open_file, read_exactly

_LEVEL: Final = 6
_GZIP: Final = 31
_IN_MEMORY_BYTES: Final = 1 << 20


class SpooledBody:
    """Made once, sent as often as needed; the same content always gives the same bytes."""

    def __init__(
        self, content: Iterable[memoryview | bytes], spool_dir: Path | None, hashes: Sequence[str], gzip: bool = True
    ) -> None:
        """Reads all of `content`; raises what it raises.

        Args:
            content: the pieces.
            spool_dir: where a large result waits, in a file without a name; None: the system's place.
            hashes: names of those that are wanted.
            gzip: whether to compress.
        """
        # it lives as long as the body
        directory = str(spool_dir) if spool_dir else None
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=directory)  # noqa: SIM115
        try:
            self._digest = self._fill(content, Hasher(hashes), gzip)
        except BaseException:
            self._file.close()
            raise
        self.length = self._file.tell()

    def _fill(self, content: Iterable[memoryview | bytes], hasher: Hasher, gzip: bool) -> Digest:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        for piece in content:
            hasher.update(piece)
            self._file.write(packer.compress(piece) if gzip else piece)
        if gzip:
            self._file.write(packer.flush())
        return hasher.digest()

    def pour(self, send: Send) -> Digest:
        """See `content.Body`."""
        self._file.seek(0)
        while piece := self._file.read(CHUNK_BYTES):
            send(memoryview(piece))
        return self._digest

    def close(self) -> None:
        """Frees memory or the spool file."""
        self._file.close()


def collected(path: Path, length: int) -> Iterator[memoryview]:
    """The pieces of a collected file of `length` bytes; raises `ArtifactLost` when it is not as it was collected."""
    fd = open_file(path)
    try:
        yield from read_exactly(fd, length, path, repeat(memoryview(bytearray(min(length + 1, CHUNK_BYTES)))))
    finally:
        os.close(fd)


def log_with_notes(path: Path, notes: Iterable[str]) -> Iterator[bytes]:
    """The pieces of a log as far as it goes (a missing one is empty), then `notes`; raises OSError."""
    last = b"\n"
    for piece in _whole(path):
        last = piece
        yield piece
    text = "".join(f"{line}\n" for line in notes).encode()
    if text:
        yield text if last.endswith(b"\n") else b"\n" + text


def _whole(path: Path) -> Iterator[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with open(fd, "rb", buffering=0) as stream:
        yield from iter(lambda: stream.read(CHUNK_BYTES), b"")
