"""HTTP/1.1 over connections that stay open between requests: one request at a time on each, bounded answers.

The usual packages send head and body in packets of their own, give up on a body whose receiver has answered early, and
need as much time for a small request as all the rest of a small upload. Here a small request goes out in one write.
Redirects are not followed and nothing is repeated.
"""

import contextlib
import http.client
import io
import select
import socket
import ssl
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

CONNECT_TIMEOUT_S: Final = 10.0
_STEPS_OF_AN_ANSWER: Final = 2


@dataclass(frozen=True)
class Origin:
    """Scheme (``http`` or ``https``), host and port of a server."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """What a server said; `whole` is false when there was more than was wanted, `retry_after` as it stood there."""

    status: int
    content: bytes
    whole: bool
    retry_after: str = ""


def head(method: str, target: str, fields: Mapping[str, str]) -> bytes:
    """The lines of a request before its body.

    Raises:
        ValueError: one of them would hold control or foreign characters.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    for line in lines:
        if not (line.isascii() and line.isprintable()):
            raise ValueError(f"a request must not hold control or foreign characters: {line[:80]!r}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class Connection:
    """For one request after the other, by one thread at a time: `begin`, `send` all of it, `answer`.

    Attributes:
        reused: whether it was idle in a pool before.
        usable: whether another request may follow; not after an error, nor after an answer that was not read whole.
    """

    def __init__(self, origin: Origin, tls: ssl.SSLContext) -> None:
        """Connects; raises OSError."""
        self.reused, self.usable, self._timeout_s = False, True, CONNECT_TIMEOUT_S
        raw = socket.create_connection((origin.host, origin.port), CONNECT_TIMEOUT_S)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = tls.wrap_socket(raw, server_hostname=origin.host) if origin.scheme == "https" else raw
        except BaseException:
            raw.close()
            raise

    def begin(self, timeout_s: float) -> None:
        """A new request; no single step of it may take longer than `timeout_s`, its answer not longer than twice."""
        self.usable, self._timeout_s = False, timeout_s
        self._socket.settimeout(timeout_s)

    def send(self, data: bytes | memoryview) -> None:
        """A part of the request; raises OSError."""
        self._socket.sendall(data)

    def answer(self, method: str, most_bytes: int) -> Answer:
        """The answer to what was sent.

        Raises:
            OSError, HTTPException: there is none, or it ends too early.
        """
        with http.client.HTTPResponse(self._socket, method=method) as response:
            response.fp.close()
            response.fp = io.BufferedReader(_Incoming(self._socket, self._timeout_s))
            response.begin()
            content = response.read(most_bytes)
            if response.length and len(content) < most_bytes:
                raise http.client.IncompleteRead(content, response.length)
            whole = response.isclosed() or (response.will_close and len(content) < most_bytes)
            self.usable = response.isclosed() and not response.will_close
            return Answer(response.status, content, whole, response.headers.get("Retry-After", "").strip())

    def is_stale(self) -> bool:
        """Whether the other side has closed it, or talks unasked, since the last answer."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLERR | select.POLLHUP)
        return bool(poll.poll(0))

    def hang_up(self) -> None:
        """Ends the answer that another thread waits for; what of it has arrived is still read."""
        with contextlib.suppress(OSError):  # the other side has
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()


class _Incoming(io.RawIOBase):
    """What comes in for one answer; a server that sends a byte now and then, or 100 Continue for ever, is given up."""

    def __init__(self, connected: socket.socket, timeout_s: float) -> None:
        self._socket, self._timeout_s = connected, timeout_s
        self._deadline = time.monotonic() + _STEPS_OF_AN_ANSWER * timeout_s

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What has come; raises OSError when nothing does, or the answer takes too long."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer takes too long")
        self._socket.settimeout(min(left_s, self._timeout_s))
        return self._socket.recv_into(buffer)


class Line:
    """A call that another thread may end, one after the other: the one holds a connection, the other hangs up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self.was_hung_up = False

    @contextlib.contextmanager
    def holding(self, connection: Connection) -> Iterator[None]:
        """For the length of one call."""
        with self._lock:
            self._connection, self.was_hung_up = connection, False
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def hang_up(self) -> None:
        """Ends the call, if there is one: it raises OSError or HTTPException unless its answer has come already."""
        with self._lock:
            if self._connection is not None:
                self.was_hung_up = True
                self._connection.hang_up()


class Pool:
    """Idle connections by origin; safe to share between threads. They are closed with the pool, or when it is gone."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._idle: dict[Origin, list[Connection]] = defaultdict(list)
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._idle)

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
        return Connection(origin, self._tls)

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
            _close_all(self._idle)


def _close_all(idle: dict[Origin, list[Connection]]) -> None:
    for connection in [connection for connections in idle.values() for connection in connections]:
        connection.close()
    idle.clear()
