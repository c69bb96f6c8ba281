"""One web socket, over a connection that gunicorn has handed over: messages, heartbeat, closing.

The protocol itself (RFC 6455) is the Sans-I/O layer of `websockets`; here is what moves its bytes.
"""

import asyncio
import socket
from collections import deque
from contextlib import suppress
from typing import Final, Self

from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from taskward.gateway import connection

LARGEST_MESSAGE: Final = 1 << 20
"""Bytes of a message; a longer one closes the web socket with 1009 before it is read."""

_READ_BYTES: Final = 1 << 16
_SEND_BUFFER_BYTES: Final = 1 << 18  # what the kernel holds for a slow peer is lost if it goes
_FAREWELL_S: Final = 2.0
_LONGEST_REASON: Final = 120


class Channel:
    """Used by one task that receives and some that send, in one event loop.

    Attributes:
        lost: done when the peer is gone; a beat later at the latest, also while its messages are not received.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heartbeat_s: float) -> None:
        self._protocol = ServerProtocol(state=State.OPEN, max_size=LARGEST_MESSAGE)
        self._reader, self._writer = reader, writer
        self._heartbeat_s = heartbeat_s
        self._messages: deque[bytes] = deque()
        self._fragments: list[bytes] = []
        self._listening = False
        self._alive = True
        self._gone = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._beating = asyncio.create_task(self._beat())

    @classmethod
    async def open(cls, sock: socket.socket, answer: Response, heartbeat_s: float) -> Self:
        """Sends the `answer` to a handshake that is accepted.

        Raises:
            OSError: the peer is gone.
        """
        connection.prepare(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(answer.serialize())
        return cls(reader, writer, heartbeat_s)

    @property
    def left_for_good(self) -> bool:
        """Whether the peer has closed the web socket as one does who will not come back (1000)."""
        received = self._protocol.close_rcvd
        return received is not None and received.code == 1000

    async def receive(self) -> bytes | None:
        """The next message, text as UTF-8; None when the web socket is closed, whoever closed it."""
        while not self._messages:
            if self._gone or self._protocol.state is not State.OPEN:
                return None
            self._listening = True
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError:
                data = b""
            finally:
                self._listening = False
            self._alive = True
            self._take(data)
        return self._messages.popleft()

    async def send(self, data: bytes | str) -> None:
        """Sends a message, binary or text; waits while the peer does not read.

        Raises:
            ConnectionError: the peer is gone, or the web socket is being closed.
        """
        if self._protocol.state is not State.OPEN:
            raise ConnectionResetError("closed")
        if isinstance(data, str):
            self._protocol.send_text(data.encode())
        else:
            self._protocol.send_binary(data)
        self._flush()
        await self._writer.drain()
        self._alive = True

    async def close(self, code: int, reason: str) -> None:
        """Says why, waits a moment for the peer to agree, and closes."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason.encode()[:_LONGEST_REASON].decode(errors="ignore"))
        with suppress(OSError):
            self._flush()
        self._beating.cancel()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await self._until_gone()
        self._writer.transport.abort()

    async def _until_gone(self) -> None:
        await self._writer.drain()
        while data := await self._reader.read(_READ_BYTES):
            self._take(data)
            if self._writer.transport.is_closing():
                return

    def _take(self, data: bytes) -> None:
        if data:
            self._protocol.receive_data(data)
        elif not self._gone:
            self._gone = True
            self._protocol.receive_eof()
        with suppress(OSError):
            self._flush()
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                self._fragments.append(bytes(event.data))
                if event.fin:
                    self._messages.append(b"".join(self._fragments))
                    self._fragments.clear()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            elif self._writer.can_write_eof():
                self._writer.write_eof()

    async def _beat(self) -> None:
        """A peer that neither reads nor answers for two beats is gone; one whose input we hold back is not asked."""
        silent = 0
        while self._protocol.state is State.OPEN:
            await asyncio.sleep(self._heartbeat_s)
            silent = 0 if self._alive or not self._listening else silent + 1
            self._alive = False
            if silent >= 2:
                self._writer.transport.abort()
            if self._writer.transport.is_closing():
                self.lost.set_result(None)
                return
            with suppress(OSError, ProtocolError):
                self._protocol.send_ping(b"")
                self._flush()
