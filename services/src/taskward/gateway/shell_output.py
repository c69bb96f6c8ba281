"""What a shell has printed: the last part of it, by its place in the whole."""

import os
from typing import Final

KEPT_BYTES: Final = 1 << 20
"""How much a connection that was cut off can be sent again."""

_READ_BYTES: Final = 1 << 16


class Output:
    """One descriptor that a shell prints to, and its last `KEPT_BYTES`; offsets count from `start`, its first byte.

    Attributes:
        taken: offset up to which the connected reader has been served.
        closed: nothing more will come.
    """

    def __init__(self, fd: int, first: int = 0) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.taken = first
        self.closed = False
        self._start = first
        self._kept = bytearray()

    @property
    def start(self) -> int:
        """Offset of the oldest byte that is still here."""
        return self._start + max(0, len(self._kept) - KEPT_BYTES)

    @property
    def end(self) -> int:
        """Offset behind the newest byte."""
        return self._start + len(self._kept)

    def pull(self) -> None:
        """Reads what the shell has printed, some of it at least; the oldest goes when there is too much."""
        wanted = _READ_BYTES
        while wanted > 0 and not self.closed:
            try:
                piece = os.read(self.fd, wanted)
            except BlockingIOError:
                return
            except OSError:  # EIO: no program has the terminal open any more
                piece = b""
            self.closed = not piece
            self._kept += piece
            wanted -= len(piece)
        if len(self._kept) > 2 * KEPT_BYTES:
            surplus = len(self._kept) - KEPT_BYTES
            del self._kept[:surplus]
            self._start += surplus

    def at(self, offset: int, most: int) -> bytes:
        """At most `most` bytes from `offset` on, which is not before `start`."""
        first = offset - self._start
        return bytes(memoryview(self._kept)[first : first + most])
