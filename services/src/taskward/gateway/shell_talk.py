"""What a web socket and a shell say to each other: generic-worker's protocol (v2), docker-worker's (v1), displays.

=======  ===================================  =========================================================================
version  to the shell                         from the shell
=======  ===================================  =========================================================================
v2       1 + input; 2 + rows, columns         bytes as they are, in binary messages. To those who named a session,
         (u16le each)                         text messages with JSON: ``{"type": "session", "session", "offset",
                                              "missed"}`` first, ``{"type": "exit", "code"}`` last
v1       0 + input; 50 + rows, columns;       1 + output; 2 + errors; 100 go on; 101 wait; 200 + exit code; 201 the
         100 go on; 101 wait; 102 end of      task is over; 202 + why there is no shell
         input
display  bytes as they are                    bytes as they are, in binary messages
=======  ===================================  =========================================================================

Unknown messages are ignored, as the originals do.
"""

import asyncio
import json
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, Protocol

from taskward.core.shell import Ended, Exited
from taskward.gateway.shell_channel import Channel
from taskward.gateway.shell_session import Session

_PIECE_BYTES: Final = 1 << 16
_RESUME, _PAUSE = b"\x64", b"\x65"
_MOST_WAITING_BYTES: Final = 8 << 20
"""How much input a client may send on after it was told to wait; then its connection waits."""

_SIZE: Final = struct.Struct("<HH")


class Talk(Protocol):
    """One conversation; both directions run at the same time, each in its own task."""

    async def send(self, session: Session, missed: int) -> None:
        """Sends what the shell prints until it is over; `missed` bytes that the reader wanted are gone."""
        ...

    async def take(self, session: Session, message: bytes) -> None:
        """Carries out one message."""
        ...

    async def refuse(self, reason: str) -> None:
        """There is no shell; the web socket is closed afterwards."""
        ...


class Terminal:
    """Version 2. `announced` are those who named a session."""

    def __init__(self, channel: Channel, *, announced: bool) -> None:
        self._channel, self._announced = channel, announced
        self._ready = False

    async def send(self, session: Session, missed: int) -> None:
        """See `Talk`."""
        offset = session.outputs[0].taken
        await self._announce(type="session", session=session.name, offset=offset, missed=missed)
        async for _, piece in pieces(session):
            await self._channel.send(piece)
        if isinstance(session.over, Exited):
            await self._announce(type="exit", code=session.over.exit_code)

    async def take(self, session: Session, message: bytes) -> None:
        """See `Talk`."""
        match message[:1]:
            case b"\x01":
                if not self._ready:
                    await session.until_ready()
                    self._ready = True
                await session.write(message[1:])
            case b"\x02":
                _resize(session, message)

    async def refuse(self, reason: str) -> None:
        """The reason stands in the closing message."""

    async def _announce(self, **fields: object) -> None:
        if self._announced:
            await self._channel.send(json.dumps(fields))


class Streams:
    """Version 1, of docker-worker. Each side tells the other when to wait, and goes on listening meanwhile."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._input = _Input()

    async def send(self, session: Session, missed: int) -> None:
        """See `Talk`; the client keeps what is typed until it is told once that it may send."""
        typing = asyncio.ensure_future(self._input.pass_on(session, self._channel))
        try:
            await self._print(session)
        finally:
            typing.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await typing

    async def _print(self, session: Session) -> None:
        await self._channel.send(_RESUME)
        async for number, piece in pieces(session):
            await self._may_send.wait()
            await self._channel.send(bytes([number + 1]) + piece)
        if isinstance(session.over, Exited):
            await self._channel.send(bytes([200, session.over.exit_code & 0xFF]))
        elif isinstance(session.over, Ended):
            await self._channel.send(b"\xc9")

    async def take(self, session: Session, message: bytes) -> None:
        """See `Talk`."""
        match message[0] if message else None:
            case 0:
                await self._input.put(message[1:])
            case 50:
                _resize(session, message)
            case 100:
                self._may_send.set()
            case 101:
                self._may_send.clear()
            case 102:
                await self._input.put(b"")

    async def refuse(self, reason: str) -> None:
        """Message 202."""
        await self._channel.send(b"\xca" + reason.encode())


class _Input:
    """What was typed and not yet read by the shell; an empty piece is the end of it."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._changed = asyncio.Condition()

    async def put(self, piece: bytes) -> None:
        """Returns when there is room for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._bytes < _MOST_WAITING_BYTES)
            self._waiting.append(piece)
            self._bytes += len(piece)
            self._changed.notify_all()

    async def pass_on(self, session: Session, channel: Channel) -> None:
        """Until it is cancelled: gives the shell its input, and has the client wait while the shell does not read."""
        paused = False
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
                piece = self._waiting.popleft()
                self._bytes -= len(piece)
                self._changed.notify_all()
            if not piece:
                session.close_input()
            elif rest := session.offer(piece):
                if not paused:
                    await channel.send(_PAUSE)
                    paused = True
                await session.write(rest)
            if paused and not self._waiting:
                await channel.send(_RESUME)
                paused = False


class Pixels:
    """A display: bytes of the RFB protocol both ways, which nobody here reads."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def send(self, session: Session, missed: int) -> None:
        """See `Talk`."""
        async for number, piece in pieces(session):
            if number == 0:
                await self._channel.send(piece)

    async def take(self, session: Session, message: bytes) -> None:
        """See `Talk`."""
        await session.write(message)

    async def refuse(self, reason: str) -> None:
        """The reason stands in the closing message."""


async def pieces(session: Session) -> AsyncIterator[tuple[int, bytes]]:
    """What each output prints beyond what was taken, in turns, until the shell is over and nothing is left."""
    while True:
        was_over, idle = session.over, True
        for number, output in enumerate(session.outputs):
            if piece := output.at(output.taken, _PIECE_BYTES):
                idle = False
                yield number, piece
                session.served(output, output.taken + len(piece))
        if idle and was_over:
            return
        if idle:
            await session.change()


def _resize(session: Session, message: bytes) -> None:
    if len(message) >= 1 + _SIZE.size:
        session.resize(*_SIZE.unpack_from(message, 1))
