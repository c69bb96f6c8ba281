"""One connection to Redis, without redis-py, which would be a third of a small process's memory (ADR 8)."""

import contextlib
import socket
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import hiredis

Word = str | bytes | int

_CHUNK_BYTES: Final = 64 << 10
_UNFINISHED: Final = object()


class NoAnswer(Exception):
    """Redis cannot be asked, or what came is no answer; whether it has done what was asked is not known."""


class Refusal(NoAnswer):
    """Redis answered with an error: nothing was done, and the connection is as good as before."""


class Link:
    """One connection, for one thread at a time; after `NoAnswer` that is no `Refusal` it is of no use."""

    def __init__(self, path: Path, user: str, password: str, timeout_s: float, most_bytes: int = 64 << 20) -> None:
        """Connects and says who we are.

        Args:
            path: of the server's socket.
            user: as whom.
            password: of that user.
            timeout_s: for each step: to connect, to send, to hear more.
            most_bytes: of one answer.

        Raises:
            NoAnswer: there is no server, or it does not let us in.
        """
        self._reader, self._most_bytes = hiredis.Reader(notEnoughData=_UNFINISHED), most_bytes
        self._socket = socket.socket(socket.AF_UNIX)
        weakref.finalize(self, self._socket.close)
        try:
            with _failures():
                self._socket.settimeout(timeout_s)
                self._socket.connect(str(path))
            self.ask("AUTH", user, password)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, *words: Word) -> Any:
        """The answer in the form of RESP 2: bytes, an integer, a list of such, or None.

        Raises:
            Refusal: it is an error.
            NoAnswer: there is none.
        """
        with _failures():
            self._socket.sendall(_packed(words))
            return _known(self._reply())

    def transact(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """What each of `commands` answers, done at once by MULTI and EXEC; single ones may have answered a `Refusal`.

        Raises:
            Refusal: one is no command, or not ours to give: nothing was done.
            NoAnswer: there is no answer.
        """
        with _failures():
            self._socket.sendall(b"".join(_packed(words) for words in (("MULTI",), *commands, ("EXEC",))))
            *_, done = [self._reply() for _ in range(len(commands) + 2)]
        return [_error(answer) or answer for answer in _known(done)]

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()

    def _reply(self) -> Any:
        received = 0
        while (reply := self._reader.gets()) is _UNFINISHED:
            data = self._socket.recv(_CHUNK_BYTES)
            received += len(data)
            if not data or received > self._most_bytes:
                raise NoAnswer("the connection ended" if not data else "an answer is too large")
            self._reader.feed(data)
        return reply


def _packed(words: Sequence[Word]) -> bytes:
    packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]  # its stub knows one word only
    return packed


def _known(reply: Any) -> Any:
    if error := _error(reply):
        raise error
    return reply


def _error(reply: Any) -> Refusal | None:
    return Refusal(str(reply)) if isinstance(reply, hiredis.ReplyError) else None


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (OSError, hiredis.HiredisError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error
