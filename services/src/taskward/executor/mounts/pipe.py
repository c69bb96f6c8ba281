"""Bytes from one descriptor and to another, in exact amounts."""

import os
from collections.abc import Iterator
from typing import Final

PIECE_BYTES: Final = 1 << 18


class Truncated(ValueError):
    """The data ends too early."""


class Reader:
    """Reads exact amounts, however small, at the same cost for each byte; knows where it is."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._kept, self._at = b"", 0
        self.offset = 0
        """How much has been taken."""

    def some(self) -> bytes:
        """Whatever is there; nothing at the end."""
        piece = self._kept[self._at :] or os.read(self._source, PIECE_BYTES)
        self._kept, self._at = b"", 0
        self.offset += len(piece)
        return piece

    def take(self, wanted: int) -> bytes:
        """Fewer only at the end."""
        if self._at + wanted > len(self._kept):
            self._fill(wanted)
        data = self._kept[self._at : self._at + wanted]
        self._at += len(data)
        self.offset += len(data)
        return data

    def _fill(self, wanted: int) -> None:
        parts = [self._kept[self._at :]]
        missing = wanted - len(parts[0])
        while missing > 0 and (piece := os.read(self._source, max(PIECE_BYTES, missing))):
            parts.append(piece)
            missing -= len(piece)
        self._kept, self._at = b"".join(parts), 0

    def whole(self, wanted: int) -> bytes:
        """All of it.

        Raises:
            Truncated: the data ends before.
        """
        return whole(self.take(wanted), wanted)

    def skip(self, unwanted: int) -> None:
        """Leaves out as much, in little memory; the same error."""
        while unwanted > 0:
            unwanted -= len(self.whole(min(unwanted, PIECE_BYTES)))

    def give_back(self, data: bytes) -> None:
        """The end of what was taken last is to be taken again."""
        self._kept, self._at = data + self._kept[self._at :], 0
        self.offset -= len(data)


def whole(data: bytes, wanted: int) -> bytes:
    """`data`, if there is as much of it as `wanted`.

    Raises:
        Truncated: there is less.
    """
    if len(data) < wanted:
        raise Truncated("truncated data")
    return data


def pieces(source: int) -> Iterator[bytes]:
    """All there is."""
    while piece := os.read(source, PIECE_BYTES):
        yield piece


def write(target: int, data: bytes | bytearray) -> None:
    """All of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
