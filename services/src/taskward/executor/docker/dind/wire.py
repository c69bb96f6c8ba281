"""The way to the host's daemon: one connection for each request, each request written by us, with ids of our own."""

import contextlib
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

from taskward.executor.docker.daemon import without_host
from taskward.executor.docker.dind.errors import BROKEN, Refusal

API: Final = (1, 41)
"""Spoken to the daemon, whatever the task's client speaks, where the daemon still speaks it."""

_UNIX: Final = "unix://"
_LARGEST_ANSWER: Final = 64 << 20
_PIECE_BYTES: Final = 1 << 16
_LONGEST_HEAD: Final = 1 << 15
_UPGRADED: Final = 101


class Wire:
    """To one daemon; threads may share it.

    Args:
        host: like ``unix:///var/run/docker.sock``.
        version: of the API that is spoken, like ``1.41``.
        timeout_s: how long the daemon may take for what it should do at once.
    """

    def __init__(self, host: str, version: str, timeout_s: float) -> None:
        self._path, self.version, self._timeout_s = host.removeprefix(_UNIX), version, timeout_s

    def ask(self, method: str, *path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """The JSON that it answers; None for an empty answer.

        Raises:
            Refusal: the daemon's own, or it is away.
        """
        with self.open(method, *path, query=query, body=body, timeout_s=self._timeout_s) as answer:
            return answer.document()

    def open(self, method: str, *path: str, query: Mapping[str, Any] | None = None, body: Any = None,
             content: Iterable[bytes] | None = None, timeout_s: float | None = None) -> "Answer":  # fmt: skip
        """The answer, to be read as it comes. `body` is sent as JSON, or `content` as a tar archive.

        Raises:
            Refusal: the daemon's own, or it is away.
        """
        connection = _Connection(self._path, timeout_s)
        try:
            headers, data = _content(body, content)
            connection.request(method, self._target(path, query), data, headers, encode_chunked=content is not None)
            stream = connection.sock
            response = connection.getresponse()
        except (OSError, HTTPException) as error:
            connection.close()
            raise _away(error) from error
        except BaseException:
            connection.close()
            raise
        answer = Answer(connection, response, stream)
        if response.status >= 400:
            with answer:
                raise Refusal(response.status, answer.reason())
        return answer

    def upgrade(self, *path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> socket.socket:
        """A connection that is a program's terminal, or its streams, from its next byte on.

        Raises:
            Refusal: as for `open`.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._timeout_s)
            connection.connect(self._path)
            data = json.dumps(body or {}).encode()
            connection.sendall(
                f"POST {self._target(path, query)} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
                f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                + data
            )
            status = _status(connection)
            if status != _UPGRADED:
                raise Refusal(status if status >= 400 else BROKEN, _plain_reason(connection))
            connection.settimeout(None)
        except OSError as error:
            connection.close()
            raise _away(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _target(self, path: tuple[str, ...], query: Mapping[str, Any] | None) -> str:
        """Parts are ids of ours, or names of images, which have slashes."""
        target = f"/v{self.version}/" + "/".join(quote(part, safe=":/@") for part in path)
        return f"{target}?{urlencode(query, doseq=True)}" if query else target


class Answer:
    """What the daemon answers, as it comes; a context manager."""

    def __init__(self, connection: "_Connection", response: HTTPResponse, stream: socket.socket) -> None:
        self._connection, self._response, self._stream = connection, response, stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends what the daemon does for it."""
        self._response.close()
        self._connection.close()

    def abort(self) -> None:
        """From another thread: whoever reads sees the end."""
        with contextlib.suppress(OSError):  # it has ended by itself
            self._stream.shutdown(socket.SHUT_RDWR)

    @property
    def status(self) -> int:
        """HTTP's."""
        return self._response.status

    def header(self, name: str) -> str:
        """Empty when it is not there."""
        return str(self._response.getheader(name) or "")

    def pieces(self) -> Iterator[bytes]:
        """Each as soon as it is there; a stream that breaks off ends.

        Raises:
            Refusal: the daemon went away.
        """
        try:
            while piece := self._response.read1(_PIECE_BYTES):
                yield piece
        except (OSError, HTTPException) as error:
            raise _away(error) from error

    def document(self) -> Any:
        """JSON; None for nothing."""
        text = self._whole()
        return json.loads(text) if text.strip() else None

    def lines(self) -> Iterator[Any]:
        """JSON messages, one after the other.

        Raises:
            Refusal: one of them says what went wrong.
        """
        rest = b""
        for piece in self.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield from _message(line)
        yield from _message(rest)

    def reason(self) -> str:
        """The daemon's own text."""
        return _reason(self._whole())

    def as_file(self) -> HTTPResponse:
        """For who reads a given number of bytes."""
        return self._response

    def _whole(self) -> bytes:
        try:
            text = self._response.read(_LARGEST_ANSWER)
        except (OSError, HTTPException) as error:
            raise _away(error) from error
        return text


class _Connection(HTTPConnection):
    def __init__(self, path: str, timeout_s: float | None) -> None:
        super().__init__("docker")
        self._path, self._timeout_s = path, timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._path)


def _content(body: Any, content: Iterable[bytes] | None) -> tuple[dict[str, str], Any]:
    headers = {"Connection": "close"}
    if content is not None:
        return {**headers, "Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}, content
    if body is not None:
        return {**headers, "Content-Type": "application/json"}, json.dumps(body).encode()
    return headers, None


def _message(line: bytes) -> Iterator[Any]:
    if line.strip():
        message = json.loads(line)
        if reason := message.get("errorDetail", {}).get("message") or message.get("error"):
            raise Refusal(BROKEN, str(reason))
        yield message


def _status(connection: socket.socket) -> int:
    """Of an answer's head, whose last byte is the last that is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte or len(head) > _LONGEST_HEAD:
            raise ConnectionError("the answer broke off")
        head += byte
    return int(head.split(b" ", 2)[1])


def _plain_reason(connection: socket.socket) -> str:
    text = connection.recv(_PIECE_BYTES)
    return _reason(text[text.find(b"{") : text.rfind(b"}") + 1] or text)


def _reason(text: bytes) -> str:
    try:
        return without_host(str(json.loads(text)["message"]))
    except (ValueError, KeyError, TypeError):
        return text[:500].decode(errors="replace").strip() or "the Docker daemon gives no reason"


def _away(error: Exception) -> Refusal:
    return Refusal(BROKEN, f"the worker's Docker daemon does not answer: {error}")
