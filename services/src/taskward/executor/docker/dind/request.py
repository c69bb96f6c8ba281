"""One HTTP request of a task, read strictly: whatever two readers could understand differently is refused.

A connection has one request, and its answer; nobody can hide a second one behind the first.
"""

import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from taskward.executor.docker.dind.body import Body, read_line
from taskward.executor.docker.dind.errors import WRONG, Refusal
from taskward.executor.docker.dind.query import Query

_LONGEST_HEAD: Final = 1 << 15
_MOST_FIELDS: Final = 100
_HEAD_WITHIN_S: Final = 30.0
_PIECE_WITHIN_S: Final = 900.0
_LINE: Final = re.compile(r"(GET|HEAD|POST|PUT|DELETE) (/[!-~]*) HTTP/1\.[01]")
_FIELD: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\t -~]*?)[ \t]*")
_TARGET: Final = re.compile(r"(?:/v(\d{1,2})\.(\d{1,3}))?(/[A-Za-z0-9_.:/@-]*)")
_SIZE: Final = re.compile(r"[0-9]{1,18}")
_SINGLE: Final = ("content-length", "transfer-encoding", "host", "expect", "upgrade", "content-encoding")


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
