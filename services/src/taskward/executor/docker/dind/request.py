"""One HTTP request of a task, read strictly: whatever two readers could understand differently is refused.

A connection has one request, and its answer; nobody can hide a second one behind the first.
"""

import contextlib
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl

from taskward.executor.docker.dind.errors import TOO_LARGE, WRONG, Refusal
from taskward.executor.docker.dind.fields import Fields, is_empty, parse

_LONGEST_HEAD: Final = 1 << 15
_LONGEST_CHUNK_LINE: Final = 256
_LARGEST_DOCUMENT: Final = 1 << 20
_MOST_FIELDS: Final = 100
_HEAD_WITHIN_S: Final = 30.0
_PIECE_WITHIN_S: Final = 900.0
_PIECE_BYTES: Final = 1 << 16
_DRAINED_BYTES: Final = 64 << 20
_DRAINED_WITHIN_S: Final = 5.0
_LINE: Final = re.compile(r"(GET|HEAD|POST|PUT|DELETE) (/[!-~]*) HTTP/1\.[01]")
_FIELD: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\t -~]*?)[ \t]*")
_TARGET: Final = re.compile(r"(?:/v(\d{1,2})\.(\d{1,3}))?(/[A-Za-z0-9_.:/@-]*)")
_SIZE: Final = re.compile(r"[0-9]{1,18}")
_CHUNK: Final = re.compile(r"([0-9A-Fa-f]{1,15})(?:;[!-~ ]*)?")
_SINGLE: Final = ("content-length", "transfer-encoding", "host", "expect", "upgrade", "content-encoding")


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


class Query:
    """The part after ``?``. `expect` comes first: whatever is not expected must say nothing."""

    def __init__(self, text: str) -> None:
        try:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=_MOST_FIELDS,
                              errors="strict", encoding="utf-8")  # fmt: skip
        except ValueError as error:
            raise Refusal(WRONG, f"the query cannot be read: {error}") from error
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def expect(self, names: frozenset[str]) -> None:
        """Raises `Refusal` for any other."""
        for name, values in self._values.items():
            if name not in names and not all(map(_says_nothing, values)):
                raise Refusal(403, f"parameter {name[:100]!r} is not allowed here")

    def text(self, name: str) -> str:
        """Empty when it is not there."""
        values = self._values.get(name, [""])
        if len(values) != 1:
            raise Refusal(WRONG, f"parameter {name!r} is there twice")
        return values[0]

    def texts(self, name: str) -> list[str]:
        """Of one that may be there several times."""
        return [value for value in self._values.get(name, ()) if value]

    def flag(self, name: str) -> bool:
        """As the daemon understands it."""
        return self.text(name).strip().lower() not in ("", "0", "no", "false", "none")

    def fields(self, name: str) -> Fields:
        """A JSON object."""
        return Fields.read(self.text(name).encode())


def _says_nothing(value: str) -> bool:
    if value.lower() in ("", "0", "false", "null", "default"):
        return True
    return value[:1] in "[{" and is_empty(parse(value.encode()))


@dataclass(frozen=True)
class Request:
    """Its head; `version` is the API's that the client speaks, None where it does not say."""

    method: str
    path: str
    version: tuple[int, int] | None
    query: Query
    headers: Mapping[str, str]
    body: Body

    @classmethod
    def read(cls, connection: socket.socket) -> Self:
        """The next request.

        Raises:
            Refusal: it is none that can be understood in one way only.
            OSError: the client is gone, or too slow.
        """
        connection.settimeout(_HEAD_WITHIN_S)
        lines = _head(connection)
        found = _LINE.fullmatch(lines[0])
        if found is None:
            raise Refusal(WRONG, "the request's first line cannot be read")
        path, _, query = found[2].partition("?")
        target = _TARGET.fullmatch(path)
        if target is None:
            raise Refusal(WRONG, f"the path {path[:200]!r} has characters that no name here has")
        headers = _fields(lines[1:])
        version = (int(target[1]), int(target[2])) if target[1] else None
        connection.settimeout(_PIECE_WITHIN_S)
        return cls(found[1], target[3], version, Query(query), headers, _body(connection, headers))

    @property
    def upgrades(self) -> bool:
        """Whether the client expects 101 for a connection that is its own from then on."""
        return "upgrade" in self.headers


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


def _head(connection: socket.socket) -> list[str]:
    lines: list[str] = []
    until, left = time.monotonic() + _HEAD_WITHIN_S, _LONGEST_HEAD
    while line := read_line(connection, left):
        lines.append(line)
        left -= len(line)
        if time.monotonic() > until or len(lines) > _MOST_FIELDS:
            raise Refusal(WRONG, "the request's head is too long, or too slow")
    if not lines:
        raise Refusal(WRONG, "the request has no first line")
    return lines


def _fields(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise Refusal(WRONG, f"the header {line[:100]!r} cannot be read")
        name = found[1].lower()
        if name in headers and name in _SINGLE:
            raise Refusal(WRONG, f"the header {name} is there twice")
        headers[name] = found[2]
    return headers


def _body(connection: socket.socket, headers: Mapping[str, str]) -> Body:
    encoding, size = headers.get("transfer-encoding"), headers.get("content-length")
    waits = headers.get("expect", "").lower() == "100-continue"
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(WRONG, "compressed requests are not understood")
    if encoding is not None:
        if size is not None or encoding.lower() != "chunked":
            raise Refusal(WRONG, "the request's size can be understood in two ways")
        return Body(connection, None, waits=waits)
    if size is not None and not _SIZE.fullmatch(size):
        raise Refusal(WRONG, "Content-Length is no number")
    return Body(connection, int(size or 0), waits=waits)
