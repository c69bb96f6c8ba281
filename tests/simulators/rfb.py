"""A viewer: speaks RFB 3.8 (RFC 6143) as far as tests need it."""

import struct
from collections.abc import Callable
from typing import Final

_RAW: Final = 0
_NO_SECURITY: Final = b"\x01"


class Viewer:
    """`read` gives at least one byte, none at the end; `write` takes all."""

    def __init__(self, read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        self._read, self._write, self._found = read, write, b""
        self.version = self._take(12)
        write(self.version)
        assert _NO_SECURITY in self._take(self._take(1)[0])
        write(_NO_SECURITY)
        assert self._take(4) == bytes(4)
        write(b"\x01")  # others may look, too
        self.width, self.height = struct.unpack(">HH", self._take(4))
        self._pixel_bytes = self._take(16)[0] // 8
        self.name = self._take(*struct.unpack(">I", self._take(4)))

    def pixels(self) -> set[bytes]:
        """The colours of the whole screen."""
        self._write(struct.pack(">BBHi", 2, 0, 1, _RAW))
        self._write(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
        while (kind := self._take(1)) != b"\x00":
            self._skip(kind)
        (rectangles,) = struct.unpack(">xH", self._take(3))
        found: set[bytes] = set()
        for _ in range(rectangles):
            _, _, width, height, encoding = struct.unpack(">HHHHi", self._take(12))
            assert encoding == _RAW
            data = self._take(width * height * self._pixel_bytes)
            found |= {data[at : at + self._pixel_bytes] for at in range(0, len(data), self._pixel_bytes)}
        return found

    def press(self, keysym: int) -> None:
        """A key goes down and up."""
        for down in (1, 0):
            self._write(struct.pack(">BBxxI", 4, down, keysym))

    def _skip(self, kind: bytes) -> None:
        """The bell, or what was cut."""
        if kind == b"\x03":
            self._take(*struct.unpack(">xxxI", self._take(7)))
        else:
            assert kind == b"\x02", kind

    def _take(self, size: int) -> bytes:
        while len(self._found) < size:
            more = self._read()
            assert more, self._found
            self._found += more
        taken, self._found = self._found[:size], self._found[size:]
        return taken
