"""One HTTP/1.1 connection to storage, kept open between requests, and the pool that keeps it.

`http.client` sends head and body in packets of their own and gives up on a body whose receiver has answered early; here
a small file goes out in one write, and an early answer is read.
"""

import http.client
import select
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from taskward.uploader.content import Body, Digest
from taskward.uploader.errors import StorageRefused

CONNECT_TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 << 10
_ONE_WRITE_BYTES: Final = 64 << 10
_PRINTABLE: Final = frozenset(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port of a server."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


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
        if not _PRINTABLE.issuperset(url):
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
class Answer:
    """What storage said; `digest` is of what it was sent, None when it stopped listening early."""

    status: int
    text: str
    digest: Digest | None


class Connection:
    """For one request after the other, by one thread at a time; dropped after any error."""

    def __init__(self, origin: Origin, tls: ssl.SSLContext, timeout_s: float) -> None:
        """Connects; raises OSError."""
        self.reused = False
        self.usable = True
        raw = socket.create_connection((origin.host, origin.port), CONNECT_TIMEOUT_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = tls.wrap_socket(raw, server_hostname=origin.host) if origin.scheme == "https" else raw
        self._socket.settimeout(timeout_s)

    def put(self, url: Url, headers: Mapping[str, str], body: Body) -> Answer:
        """One PUT, with Content-Length.

        Raises:
            OSError, HTTPException: no answer.
            ArtifactLost: the content was not there to be sent.
        """
        self.usable = False
        fields = {"Host": url.host_header, "Content-Length": str(body.length), **headers}
        lines = [f"PUT {url.target} HTTP/1.1", *(f"{name}: {_one_line(value)}" for name, value in fields.items())]
        digest = self._send("\r\n".join([*lines, "", ""]).encode("ascii"), body)
        return self._answer(digest)

    def _send(self, head: bytes, body: Body) -> Digest | None:
        waiting = head

        def send(piece: memoryview) -> None:
            nonlocal waiting
            if waiting and len(piece) <= _ONE_WRITE_BYTES:
                self._socket.sendall(waiting + piece)
            else:
                if waiting:
                    self._socket.sendall(waiting)
                self._socket.sendall(piece)
            waiting = b""

        try:
            digest = body.pour(send)
            if waiting:
                self._socket.sendall(waiting)
        except (BrokenPipeError, ConnectionResetError):
            return None  # it may have said why
        return digest

    def _answer(self, digest: Digest | None) -> Answer:
        with http.client.HTTPResponse(self._socket, method="PUT") as response:
            response.begin()
            text = response.read(MAX_ANSWER_BYTES)
            self.usable = digest is not None and not response.will_close and len(text) < MAX_ANSWER_BYTES
            return Answer(response.status, text.decode("utf-8", "replace"), digest)

    def is_stale(self) -> bool:
        """Whether the other side has closed it, or talks unasked, since the last answer."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLERR | select.POLLHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()


class Pool:
    """Idle connections by origin; safe to share between threads."""

    def __init__(self, tls: ssl.SSLContext, timeout_s: float) -> None:
        self._tls, self._timeout_s = tls, timeout_s
        self._idle: dict[Origin, list[Connection]] = defaultdict(list)
        self._lock = threading.Lock()

    def take(self, origin: Origin) -> Connection:
        """An idle connection that still stands (`reused`), else a new one; raises OSError."""
        while True:
            with self._lock:
                idle = self._idle[origin]
                connection = idle.pop() if idle else None
            if connection is None:
                return self.open(origin)
            if not connection.is_stale():
                connection.reused = True
                return connection
            connection.close()

    def open(self, origin: Origin) -> Connection:
        """A new connection; raises OSError."""
        return Connection(origin, self._tls, self._timeout_s)

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Done with it; it is closed unless it can be used again."""
        if not connection.usable:
            connection.close()
            return
        with self._lock:
            self._idle[origin].append(connection)

    def close(self) -> None:
        """Closes the idle ones."""
        with self._lock:
            idle = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
        for connection in idle:
            connection.close()


def _one_line(value: str) -> str:
    if not all(" " <= char <= "~" for char in value):
        raise StorageRefused(f"a header for the upload holds control or foreign characters: {value[:80]!r}")
    return value
