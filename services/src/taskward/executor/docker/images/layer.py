"""Looks at the entries of a layer while it passes, for what makes a small layer large on the daemon's disk.

Only headers are read. A sparse file has a size that its bytes don't show, so such layers are refused; entries are
counted, since each costs room of its own.
"""

from typing import Final

from taskward.executor.mounts.errands import Refused

_BLOCK: Final = 512
_TYPE, _SIZE = 156, slice(124, 136)
_EXTENDED: Final = b"xgX"
_LARGEST_EXTENDED: Final = 1 << 20
_WITHOUT_CONTENT: Final = b"123456"
_SPARSE: Final = b"S"


class Walk:
    """Through one tar archive, in pieces of any size; `most_entries` is for all layers of an image together."""

    def __init__(self, count: "Count") -> None:
        self._count = count
        self._skip = 0
        self._kept = b""
        self._extended = 0
        self._size_told: int | None = None
        self._over = False

    def feed(self, data: bytes) -> None:
        """The next piece.

        Raises:
            Refused: the layer has a sparse file, or there are too many entries.
        """
        at = 0
        while at < len(data) and not self._over:
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
            else:
                wanted = self._extended or _BLOCK
                step = min(wanted - len(self._kept), len(data) - at)
                self._kept += data[at : at + step]
                if len(self._kept) == wanted:
                    self._block()
            at += step

    def _block(self) -> None:
        block, self._kept = self._kept, b""
        if self._extended:
            self._extended = 0
            self._note(block)
        elif not block.strip(b"\0"):
            self._over = True
        else:
            self._header(block)

    def _header(self, block: bytes) -> None:
        kind, size = block[_TYPE : _TYPE + 1], _number(block[_SIZE])
        padded = -(-size // _BLOCK) * _BLOCK
        if kind == _SPARSE:
            raise Refused("it has a sparse file")
        if kind in _EXTENDED:
            if not 0 < padded <= _LARGEST_EXTENDED:
                raise Refused("it has an extended header of an impossible size")
            self._extended = padded
            return
        if kind in _WITHOUT_CONTENT:
            padded = 0
        elif self._size_told is not None:
            padded = -(-self._size_told // _BLOCK) * _BLOCK
        if kind not in b"LK":  # the long name of the entry that follows
            self._size_told = None
            self._count.add()
        self._skip = padded

    def _note(self, records: bytes) -> None:
        if b"GNU.sparse" in records:
            raise Refused("it has a sparse file")
        for line in records.split(b"\n"):
            name, _, value = line.partition(b" ")[2].partition(b"=")
            if name == b"size":
                self._size_told = _decimal(value)


class Count:
    """Entries of all layers of an image; 0 is no limit."""

    def __init__(self, most: int) -> None:
        self._most, self._entries = most, 0

    def add(self) -> None:
        """One more.

        Raises:
            Refused: that is too many.
        """
        self._entries += 1
        if self._most and self._entries > self._most:
            raise Refused(f"there are more than {self._most} entries, the most that are allowed")


def _number(data: bytes) -> int:
    """Octal digits, or, for very large files, a binary number."""
    if data[0] & 0x80:
        return int.from_bytes(bytes((data[0] & 0x7F,)) + data[1:], "big")
    digits = data.strip(b" \0")
    try:
        return int(digits or b"0", 8)
    except ValueError as error:
        raise Refused("it is no tar archive") from error


def _decimal(value: bytes) -> int:
    if not value.isdigit():
        raise Refused("it has a size that is no number")
    return int(value[:20])
