"""A file of an image's archive while it passes: its hash, and the hash of the layer that it may be."""

import hashlib
import zlib
from typing import Any, Final

from taskward.executor.docker.images.layer import Count, Walk
from taskward.executor.mounts.errands import Refused

_PIECE_BYTES: Final = 1 << 20
_RATIO_FROM_BYTES: Final = 64 << 20
_GZIP: Final = b"\x1f\x8b"
_UNREADABLE: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


class Budget:
    """What an image may become: `most_bytes`, and `most_ratio` times its archive from 64 MiB on; 0 is no limit."""

    def __init__(self, archive_bytes: int, most_bytes: int, most_ratio: int) -> None:
        self._most_bytes, self._most_ratio = most_bytes, most_ratio
        self._allowed = max(archive_bytes * most_ratio, _RATIO_FROM_BYTES)
        self._spent = 0

    def spend(self, size_bytes: int) -> None:
        """So much more is there.

        Raises:
            Refused: that is too much.
        """
        self._spent += size_bytes
        if self._most_bytes and self._spent > self._most_bytes:
            raise Refused(f"it is larger than {self._most_bytes} bytes when unpacked, the most that is allowed")
        if self._most_ratio and self._spent > self._allowed:
            raise Refused(f"it becomes more than {self._most_ratio} times larger when unpacked, as only bombs do")


class Blob:
    """One file; `layer` and `fault` tell what its bytes are if they are taken for a layer."""

    def __init__(self, budget: Budget, count: Count) -> None:
        self._budget = budget
        self._raw = hashlib.sha256()
        self._plain = self._raw
        self._walk: Walk | None = Walk(count)
        self._inflate: Any = None
        self.fault = ""
        self.size_bytes = 0

    def feed(self, piece: bytes) -> None:
        """The next bytes.

        Raises:
            Refused: it is too large.
        """
        if not self.size_bytes:
            self._begin(piece)
        self.size_bytes += len(piece)
        self._raw.update(piece)
        if self._inflate is not None:
            self._decompress(piece)
        else:
            self._look(piece)

    def end(self) -> None:
        """That was all."""
        if self._inflate is not None and not self._inflate.eof:
            self._give_up("it is truncated")

    @property
    def digest(self) -> str:
        """``sha256:…`` of its bytes."""
        return f"sha256:{self._raw.hexdigest()}"

    @property
    def layer(self) -> str:
        """``sha256:…`` of the tar archive that it is, or that is compressed in it."""
        return f"sha256:{self._plain.hexdigest()}"

    def _begin(self, piece: bytes) -> None:
        for magic, name in _UNREADABLE.items():
            if piece.startswith(magic):
                self._give_up(f"it is compressed with {name}: use gzip, or no compression")
        if piece.startswith(_GZIP):
            self._plain = hashlib.sha256()
            self._inflate = zlib.decompressobj(31)

    def _decompress(self, piece: bytes) -> None:
        while piece:
            if self._inflate.eof:  # another member follows
                self._inflate = zlib.decompressobj(31)
            try:
                plain = self._inflate.decompress(piece, _PIECE_BYTES)
            except zlib.error as error:
                self._give_up(f"it is damaged: {error}")
                return
            self._budget.spend(len(plain))
            self._plain.update(plain)
            self._look(plain)
            piece = self._inflate.unconsumed_tail or self._inflate.unused_data

    def _look(self, plain: bytes) -> None:
        if self._walk is not None:
            try:
                self._walk.feed(plain)
            except Refused as refused:
                self._give_up(str(refused))

    def _give_up(self, fault: str) -> None:
        """It is no layer; that matters only if it is used as one."""
        self.fault, self._walk, self._inflate = self.fault or fault, None, None
