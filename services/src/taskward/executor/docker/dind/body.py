"""The body of a task's request, as it comes."""

import contextlib
import re
import socket
from collections.abc import Iterator
from typing import Final

from taskward.executor.docker.dind.errors import TOO_LARGE, WRONG, Refusal

_LONGEST_CHUNK_LINE: Final = 256
_LARGEST_DOCUMENT: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 16
_DRAINED_BYTES: Final = 64 << 20
_DRAINED_WITHIN_S: Final = 5.0
_CHUNK: Final = re.compile(r"([0-9A-Fa-f]{1,15})(?:;[!-~ ]*)?")


class Body:
    """What follows the head; read once, piece by piece."""

    def __init__(self, connection: socket.socket, size_bytes: int | None, *, waits: bool) -> None:
        """`size_bytes` is None for chunks; `waits` when the client sends nothing before it is told to go on."""
        self._connection, self._left, self._waits = connection, size_bytes, waits
        self._ended = size_bytes == 0

    def pieces(self, most_bytes: int) -> Iterator[bytes]:
        """All of it, as it comes.

        Raises:
            Refusal: it is larger than `most_bytes`, or broken.
            OSError: the client is gone.
        """
        if self._waits and not self._ended:
            self._waits = False
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        total = 0
        while piece := self._piece():
            total += len(piece)
            if total > most_bytes:
                raise Refusal(TOO_LARGE, f"the request is larger than {most_bytes} bytes")
            yield piece

    def whole(self) -> bytes:
        """All of a document."""
        return b"".join(self.pieces(_LARGEST_DOCUMENT))

    def drain(self) -> None:
        """Takes what nobody wants, since many clients read no answer before they have sent everything."""
        self._connection.settimeout(_DRAINED_WITHIN_S)
        with contextlib.suppress(Refusal):
            for _ in () if self._waits else self.pieces(_DRAINED_BYTES):
                pass

    def _piece(self) -> bytes:
        """Empty at the end; nothing is read any more from a body that is broken."""
        if self._ended:
            return b""
        try:
            left = self._next_left()
            piece = self._connection.recv(min(left, _PIECE_BYTES)) if left else b""
            if left and not piece:
                raise ConnectionError("the request broke off")
            if piece:
                self._took(len(piece))
        except BaseException:
            self._ended = True
            raise
        return piece

    _in_chunk = 0

    def _next_left(self) -> int:
        if self._left is not None:
            self._ended = self._left == 0
            return self._left
        if self._in_chunk == 0:
            found = _CHUNK.fullmatch(read_line(self._connection, _LONGEST_CHUNK_LINE))
            if found is None:
                raise Refusal(WRONG, "a chunk of the request has no size")
            self._in_chunk = int(found[1], 16)
            if self._in_chunk == 0:
                if read_line(self._connection, _LONGEST_CHUNK_LINE):
                    raise Refusal(WRONG, "trailers are not understood")
                self._ended = True
        return self._in_chunk

    def _took(self, size_bytes: int) -> None:
        if self._left is not None:
            self._left -= size_bytes
            return
        self._in_chunk -= size_bytes
        if self._in_chunk == 0 and read_line(self._connection, _LONGEST_CHUNK_LINE):
            raise Refusal(WRONG, "a chunk of the request is longer than its size")


def read_line(connection: socket.socket, longest: int) -> str:
    """Up to the end of a line; not one byte more is taken from the connection.

    Raises:
        Refusal: it is too long, or ends otherwise.
        OSError: the other end is gone.
    """
    line = bytearray()
    while not line.endswith(b"\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("the request broke off")
        line += byte
        if len(line) > longest or (byte == b"\n" and not line.endswith(b"\r\n")):
            raise Refusal(WRONG, "a line of the request is too long, or does not end in CR LF")
    return line[:-2].decode("latin-1")
