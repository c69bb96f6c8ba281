"""The body of a task's request: small ones are kept for a second try, others are streamed."""

from collections.abc import Iterator
from typing import Any, Final

from taskward.proxy.connection import TaskSocket
from taskward.proxy.errors import ClientGone, RequestError
from taskward.proxy.upstream import Link

REPLAY_BYTES: Final = 64 * 1024
"""Bodies up to this size are held in memory and may be sent twice."""

BUFFER_BYTES: Final = 256 * 1024


class RequestBody:
    """What a task sends after the head; framed by a length, by chunks, or absent.

    `wsgi_input` is gunicorn's body object. A body with a length is read past it, straight from the socket into one
    buffer (gunicorn copies each piece several times, which costs five times the CPU); where the inner attributes that
    this needs are missing, through its ``read``.
    """

    def __init__(self, sock: TaskSocket, wsgi_input: Any, length: int | None, *, chunked: bool) -> None:
        self.chunked = chunked
        self._sock = sock
        self._input = wsgi_input
        self._left = length or 0
        self._small: bytes | None = None
        if not chunked and self._left <= REPLAY_BYTES:
            self._small = b"".join(bytes(piece) for piece in self._by_length())
        self.length = None if chunked else length

    @property
    def replayable(self) -> bool:
        """Whether the whole body is in memory."""
        return self._small is not None

    @property
    def framing(self) -> list[tuple[str, str]]:
        """The fields that announce this body to Taskcluster."""
        if self.chunked:
            return [("Transfer-Encoding", "chunked")]
        return [] if self.length is None else [("Content-Length", str(self.length))]

    def send_to(self, link: Link, head: bytes) -> bool:
        """Send head and body; False when Taskcluster answered before all of it was sent.

        Raises ClientGone or RequestError (400) when the task's side of it fails.
        """
        if self._small is not None:
            return link.send(head + self._small)
        if not link.send(head):
            return False
        for piece in self._by_chunks() if self.chunked else self._by_length():
            if link.answered() or not link.send(piece):
                return False
        return not self.chunked or link.send(b"0\r\n\r\n")

    def _by_length(self) -> Iterator[bytes | memoryview]:
        reader: Any = getattr(self._input, "reader", None)
        unreader: Any = getattr(reader, "unreader", None)
        if self._left and (reader is None or not hasattr(reader, "length") or not hasattr(unreader, "take_buffered")):
            yield from self._through_gunicorn()
            return
        if self._left:
            buffered = unreader.take_buffered()
            unreader.unread(buffered[self._left :])
            yield self._counted(reader, buffered[: self._left])
        buffer = memoryview(bytearray(min(BUFFER_BYTES, self._left)))
        while self._left:
            size = self._sock.recv_some(buffer[: self._left])
            yield self._counted(reader, buffer[:size])

    def _counted(self, reader: Any, piece: bytes | memoryview) -> bytes | memoryview:
        self._left -= len(piece)
        reader.length = self._left  # so that gunicorn knows where the next request starts
        return piece

    def _through_gunicorn(self) -> Iterator[bytes]:
        while self._left:
            piece = self._read(min(BUFFER_BYTES, self._left))
            if not piece:
                raise ClientGone("the connection ended within the body")
            self._left -= len(piece)
            yield piece

    def _by_chunks(self) -> Iterator[bytes]:
        """Pieces as they arrive, framed anew; trailers are dropped."""
        arriving = getattr(getattr(self._input, "reader", None), "parser", None)
        while piece := self._next_chunk(arriving):
            yield b"%x\r\n%b\r\n" % (len(piece), piece)

    def _next_chunk(self, arriving: Iterator[bytes] | None) -> bytes:
        if arriving is None:
            return self._read(8192)
        try:
            while True:
                piece = next(arriving, None)
                if piece is None:
                    self._input.reader.parser = None
                    return b""
                if piece:
                    return piece
        except Exception as error:  # whatever the chunk parser raises, the body is broken
            raise self._broken(error) from error

    def _read(self, size: int) -> bytes:
        try:
            return bytes(self._input.read(size))
        except Exception as error:  # as above
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> ClientGone | RequestError:
        self._sock.close_after = True
        if isinstance(error, OSError):
            return ClientGone(str(error))
        return RequestError(400, "InvalidBody", f"The body of the request is broken: {type(error).__name__}.")
