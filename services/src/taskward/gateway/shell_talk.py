"""What a web socket and a shell say to each other: generic-worker's protocol (v2) and docker-worker's (v1).

=======  ===================================  =========================================================================
version  to the shell                         from the shell
=======  ===================================  =========================================================================
v2       1 + input; 2 + rows, columns         bytes as they are, in binary messages. To those who named a session,
         (u16le each)                         text messages with JSON: ``{"type": "session", "session", "offset",
                                              "missed"}`` first, ``{"type": "exit", "code"}`` last
v1       0 + input; 50 + rows, columns;       1 + output; 2 + errors; 200 + exit code; 201 the task is over; 202 + why
         100 go on; 101 wait; 102 end of      there is no shell
         input
=======  ===================================  =========================================================================

Unknown messages are ignored, as the originals do.
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from typing import Final, Protocol

from taskward.core.shell import Ended, Exited
from taskward.gateway.shell_channel import Channel
from taskward.gateway.shell_session import Session

_PIECE_BYTES: Final = 1 << 16
_RESUME: Final = b"\x64"
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
        async for _, piece in _pieces(session):
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
    """Version 1, of docker-worker."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._may_send = asyncio.Event()
        self._may_send.set()

    async def send(self, session: Session, missed: int) -> None:
        """See `Talk`; the client keeps what is typed until it is told once that it may send."""
        await self._channel.send(_RESUME)
        async for number, piece in _pieces(session):
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
                await session.write(message[1:])
            case 50:
                _resize(session, message)
            case 100:
                self._may_send.set()
            case 101:
                self._may_send.clear()
            case 102:
                session.close_input()

    async def refuse(self, reason: str) -> None:
        """Message 202."""
        await self._channel.send(b"\xca" + reason.encode())


async def _pieces(session: Session) -> AsyncIterator[tuple[int, bytes]]:
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
