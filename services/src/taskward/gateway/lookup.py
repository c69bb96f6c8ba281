"""One question to Redis, over a connection of its own.

All that the gateway asks is one key when a reader comes; redis-py would be a fifth of its memory (ADR 8).
"""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import hiredis

_CHUNK_BYTES: Final = 16 << 10
_MOST_BYTES: Final = 1 << 20  # an entry has a few hundred
_UNFINISHED: Final = object()


class NoAnswer(Exception):
    """Redis cannot be asked, or what came is no answer; asking again is safe."""


@dataclass(frozen=True)
class Question:
    """Whom to ask, and as whom. Thread-safe.

    Attributes:
        timeout_s: for each step: to connect, to send, to hear more.
    """

    socket: Path
    user: str
    password: str = field(repr=False)
    timeout_s: float

    def get(self, key: str) -> bytes | None:
        """The value of `key`; None when there is none.

        Raises:
            NoAnswer: Redis is away, loads its data, or refuses us.
        """
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self.timeout_s)
                connection.connect(str(self.socket))
                connection.sendall(_command("AUTH", self.user, self.password) + _command("GET", key))
                return _answer(connection)
        except (OSError, hiredis.HiredisError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error


def _command(*words: str) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub has a tuple of one
    return packed


def _answer(connection: socket.socket) -> bytes | None:
    """The second of two replies."""
    replies: list[object] = []
    reader, received = hiredis.Reader(notEnoughData=_UNFINISHED), 0
    while len(replies) < 2:
        reply = reader.gets()
        if isinstance(reply, hiredis.ReplyError):
            raise NoAnswer(str(reply))
        if reply is not _UNFINISHED:
            replies.append(reply)
            continue
        data = connection.recv(_CHUNK_BYTES)
        received += len(data)
        if not data or received > _MOST_BYTES:
            raise NoAnswer("the connection ended" if not data else "an entry is too large")
        reader.feed(data)
    entry = replies[1]
    if not isinstance(entry, bytes | None):
        raise NoAnswer("an entry is no string")
    return entry
