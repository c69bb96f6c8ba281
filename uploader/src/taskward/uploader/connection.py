"""One PUT of a body over a connection to storage.

A small file goes out in one write with its head; an answer that comes before the whole body was taken is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from taskward.core.http1 import Connection, Origin, head
from taskward.uploader.content import Body, Digest
from taskward.uploader.errors import StorageRefused

MAX_ANSWER_BYTES: Final = 64 << 10
_ONE_WRITE_BYTES: Final = 64 << 10


@dataclass(frozen=True)
class Url:
    """A URL to PUT to, taken apart."""

    origin: Origin
    host_header: str
    target: str

    @classmethod
    def parse(cls, url: str) -> "Url":
        """The parts of `url`.

        Raises:
            StorageRefused: it is not an http(s) URL, or holds what a request line cannot bear.
        """
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise StorageRefused("the upload URL holds blanks or control characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise StorageRefused(f"the upload URL cannot be used: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise StorageRefused(f"the upload URL must be http(s)://host/…, not {parts.scheme[:20]}:…")
        origin = Origin(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80))
        return cls(origin, parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


@dataclass(frozen=True)
class Stored:
    """What storage said; `digest` is of what it was sent, None when it stopped listening early."""

    status: int
    text: str
    digest: Digest | None


def put(connection: Connection, url: Url, headers: Mapping[str, str], body: Body, timeout_s: float) -> Stored:
    """One PUT, with Content-Length.

    Raises:
        OSError, HTTPException: no answer.
        StorageRefused: a header cannot be sent.
        ArtifactLost: the content was not there to be sent.
    """
    connection.begin(timeout_s)
    fields = {"Host": url.host_header, "Content-Length": str(body.length), **headers}
    try:
        first = head("PUT", url.target, fields)
    except ValueError as error:
        raise StorageRefused(f"PUT to {url.origin}: {error}") from error
    digest = _send(connection, first, body)
    answer = connection.answer("PUT", MAX_ANSWER_BYTES)
    connection.usable = connection.usable and digest is not None
    return Stored(answer.status, answer.content.decode("utf-8", "replace"), digest)


def _send(connection: Connection, first: bytes, body: Body) -> Digest | None:
    waiting = first

    def send(piece: memoryview) -> None:
        nonlocal waiting
        if waiting and len(piece) <= _ONE_WRITE_BYTES:
            connection.send(waiting + piece)
        else:
            if waiting:
                connection.send(waiting)
            connection.send(piece)
        waiting = b""

    try:
        digest = body.pour(send)
        if waiting:
            connection.send(waiting)
    except (BrokenPipeError, ConnectionResetError):
        return None  # it may have said why
    return digest
