"""One reader of a live log: its socket, its offset, and how the bytes are framed.

A reader holds no bytes of the log. They go from the file to the socket inside the kernel (sendfile), so that a reader
costs the same small memory whatever it follows and however slow it is.
"""

import os
import socket
from enum import Enum, auto
from typing import Final

from taskward.gateway.errors import ReaderLost
from taskward.gateway.extent import Extent
from taskward.gateway.logfile import LogFile

CHUNK_BYTES: Final = 256 * 1024
"""The most that one reader gets in one turn; small enough that hundreds of fast readers take turns quickly."""

_ZEROS: Final = bytes(16 * 1024)


class Progress(Enum):
    """How far a turn of sending came."""

    MORE = auto()
    """There is more to send at once."""
    BLOCKED = auto()
    """The peer has to read first; wait until the socket is writable."""
    CAUGHT_UP = auto()
    """All there is was sent; wait until the log grows or is finished."""
    ENDED = auto()
    """All was sent, and nothing will follow."""


class Reader:
    """Sends the wanted part of `log` to a non-blocking socket, a piece at each `advance`.

    With `chunked` the pieces are framed as HTTP/1.1 chunks and a last empty chunk tells the peer that the log is
    complete; without, the bytes go bare (a known Content-Length, or HTTP/1.0 up to the close).

    `progress` is how far the last `advance` came, `moved_at_s` when it last sent bytes of the log (monotonic clock).
    """

    def __init__(self, sock: socket.socket, log: LogFile, extent: Extent, *, chunked: bool, now_s: float) -> None:
        self.sock = sock
        self.log = log
        self.sent_bytes = 0
        self.moved_at_s = now_s
        self.progress = Progress.MORE
        self._offset = extent.start
        self._end = extent.end
        self._shrinkages = log.shrinkages
        self._chunked = chunked
        self._promised_bytes = 0  # what of the current piece still has to come from the file
        self._frame = b""  # chunk framing that has to go first
        self._ending = False

    def advance(self, now_s: float) -> None:
        """Send what the socket takes, at most one piece, and note how far that came.

        Raises:
            ReaderLost: the peer is gone, or promised bytes have vanished; nothing can be sent any more.
        """
        before = self.sent_bytes
        try:
            self.progress = self._send_piece()
        except BlockingIOError:
            self.progress = Progress.BLOCKED
        except OSError as error:
            raise ReaderLost("gone") from error
        if self.sent_bytes > before:
            self.moved_at_s = now_s

    def _send_piece(self) -> Progress:
        promised = False
        while True:
            if self._frame:
                self._send_frame()
            elif self._promised_bytes:
                self._send_file()
            elif self._ending:
                return Progress.ENDED
            elif promised:
                return Progress.MORE
            elif self._promise():
                promised = True
            else:
                return Progress.CAUGHT_UP

    def _promise(self) -> bool:
        """Begin the next piece, or the end; False when there is nothing to send now."""
        if (
            self._end is None and self._shrinkages != self.log.shrinkages
        ):  # what lay behind the new end is gone, what comes there is new
            self._shrinkages = self.log.shrinkages
            self._offset = min(self._offset, self.log.size_bytes)
        limit = self.log.size_bytes if self._end is None else self._end
        if limit > self._offset:
            self._promised_bytes = min(limit - self._offset, CHUNK_BYTES)
            self._frame = b"%x\r\n" % self._promised_bytes if self._chunked else b""
            return True
        if self._end is None and not self.log.finished:
            return False
        self._ending = True
        self._frame = b"0\r\n\r\n" if self._chunked else b""
        return True

    def _send_frame(self) -> None:
        more = socket.MSG_MORE if self._promised_bytes else 0
        self._frame = self._frame[self.sock.send(self._frame, more) :]

    def _send_file(self) -> None:
        fd = self.log.fd
        sent = 0 if fd is None else os.sendfile(self.sock.fileno(), fd, self._offset, self._promised_bytes)
        sent = sent or self._send_filler()
        self._offset += sent
        self.sent_bytes += sent
        self._promised_bytes -= sent
        if not self._promised_bytes:
            self._frame = b"\r\n" if self._chunked else b""
            self._ending = self._offset == self._end

    def _send_filler(self) -> int:
        """Make up for bytes that were cut off the file after their chunk was announced.

        A chunk has to be filled, else the stream cannot go on: NUL bytes stand for what is lost, as in a sparse file.
        Without chunks nothing more can be true: the connection is broken off, so that the peer knows.
        """
        if not self._chunked:
            raise ReaderLost("vanished")
        return self.sock.send(_ZEROS[: self._promised_bytes])
