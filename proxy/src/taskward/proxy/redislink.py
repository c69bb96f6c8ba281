"""Connections to Redis: questions with their answers, and a channel to listen to.

The proxy asks for a handful of keys; redis-py would be a quarter of its memory (ADR 8).
"""

import contextlib
import socket
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import hiredis

from taskward.proxy.errors import ProxyError

_CHUNK_BYTES: Final = 64 << 10
_MOST_BYTES: Final = 16 << 20  # of one answer
_UNFINISHED: Final = object()


class LinkFailed(ProxyError):
    """Redis cannot be asked, or what came is no answer: open a new link; whatever we ask may be asked twice."""


class LinkEnded(LinkFailed):
    """Redis has closed the connection, perhaps long ago: a new one may be answered."""


class LinkRefused(LinkFailed):
    """Redis answered with an error; the link is as good as before."""


@dataclass(frozen=True)
class Address:
    """Where Redis is, and who we are there; without a password nobody in particular.

    Attributes:
        timeout_s: for each step: to connect, to send, to hear more.
    """

    socket: Path
    timeout_s: float
    user: str | None = None
    password: str | None = field(default=None, repr=False)


class Link:
    """One connection, for one thread at a time."""

    def __init__(self, address: Address) -> None:
        """Connect and say who we are.

        Raises:
            LinkFailed: there is no server, or it does not let us in.
        """
        self._timeout_s = address.timeout_s
        self._reader = hiredis.Reader(notEnoughData=_UNFINISHED)
        with _failures():
            self._socket = socket.socket(socket.AF_UNIX)
        weakref.finalize(self, self._socket.close)
        try:
            with _failures():
                self._socket.settimeout(address.timeout_s)
                self._socket.connect(str(address.socket))
            if address.password:
                self.ask("AUTH", address.user or "default", address.password)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, *words: str) -> object:
        """The answer: bytes, an integer, a list of such, or None.

        Raises:
            LinkRefused: it is an error.
            LinkFailed: there is none.
        """
        with _failures():
            self._socket.settimeout(self._timeout_s)
            packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub knows one word only
            self._socket.sendall(packed)
            return self._next()

    def hear(self, timeout_s: float) -> object:
        """What Redis says next without being asked; None when it says nothing for so long. Errors as in `ask`."""
        with _failures():
            self._socket.settimeout(timeout_s)
            try:
                return self._next()
            except TimeoutError:
                return None

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()

    def _next(self) -> object:
        received = 0
        while (reply := self._reader.gets()) is _UNFINISHED:
            data = self._socket.recv(_CHUNK_BYTES)
            received += len(data)
            if not data:
                raise LinkEnded("Redis ended the connection")
            if received > _MOST_BYTES:
                raise LinkFailed("an answer is too large")
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise LinkRefused(str(reply))
        return reply


class Links:
    """Asks over a connection that is idle, or a new one. Thread-safe; nothing is opened before it is needed."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Link] = []

    def ask(self, *words: str) -> object:
        """See `Link.ask`; a connection that its server has ended meanwhile is no reason to fail, one that hangs is."""
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return self._over(Link(self._address), words)
            try:
                return self._over(link, words)
            except LinkEnded:
                continue

    def listen(self, channel: str) -> Link:
        """A connection of its own that hears what is said in `channel`; the caller closes it. Errors as in `ask`."""
        link = Link(self._address)
        try:
            link.ask("SUBSCRIBE", channel)
        except BaseException:
            link.close()
            raise
        return link

    def _over(self, link: Link, words: tuple[str, ...]) -> object:
        try:
            answer = link.ask(*words)
        except BaseException as error:
            if isinstance(error, LinkRefused):
                self._idle.append(link)
            else:
                link.close()
            raise
        self._idle.append(link)
        return answer


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except ConnectionError as error:
        raise LinkEnded(str(error)) from error
    except (OSError, hiredis.HiredisError) as error:
        raise LinkFailed(str(error) or type(error).__name__) from error
