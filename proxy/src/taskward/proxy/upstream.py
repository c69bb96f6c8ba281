"""Connections to a server: opened, kept for reuse, read and written without blocking for ever."""

import functools
import select
import socket
import ssl
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

from taskward.proxy.answer import MAX_HEAD_BYTES, Answer, AnswerParser
from taskward.proxy.connection import TaskSocket
from taskward.proxy.errors import ClientGone, StartError, UpstreamError, UpstreamTimeout
from taskward.proxy.routes import RootUrl
from taskward.proxy.via import Via

_MAX_IDLE: Final = 64
_MAX_IDLE_S: Final = 30.0
_READ_BYTES: Final = 64 * 1024
_WANT_READ: Final = (BlockingIOError, ssl.SSLWantReadError)


class Link:
    """One connection to a server, used by one request at a time.

    Every wait ends after `timeout_s` without a byte (UpstreamTimeout), and at once when the task whose socket is
    given to `serve` has gone (ClientGone). A link that raised is not to be used again.
    """

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        sock.setblocking(False)
        self.reused = False
        self.idle_since_s = 0.0
        self._sock = sock
        self._timeout_s = timeout_s
        self._end_s = float("inf")
        self._received = bytearray()
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._client: TaskSocket | None = None
        self._poll = select.poll()
        self._poll.register(sock, 0)

    def serve(self, client: TaskSocket) -> None:
        """From now on, give up waiting when this client goes."""
        self._client = client
        self._poll.register(client, client.signs_of_leaving)

    def finish_within(self, seconds: float) -> None:
        """From now on everything together may take that long, however steadily bytes come (UpstreamTimeout)."""
        self._end_s = time.monotonic() + seconds

    def release(self) -> None:
        """Forget the client; the link is idle."""
        if self._client is not None:
            self._poll.unregister(self._client)
        self._client = None
        self._end_s = float("inf")
        self.reused = True
        self.idle_since_s = time.monotonic()

    def send(self, data: bytes | memoryview) -> bool:
        """Send all of `data`; False as soon as an answer is there instead, so that nobody uploads in vain.

        Like every wait of a link: UpstreamTimeout when it takes too long, ClientGone when the task leaves meanwhile.
        UpstreamError when the connection broke, with `stale` set when it had served before.
        """
        view = memoryview(data)
        while view:
            try:
                sent = self._sock.send(view)
            except (*_WANT_READ, ssl.SSLWantWriteError):
                self._wait(select.POLLOUT | select.POLLIN)
                if self._peek():
                    return False
            except OSError as error:
                if self._peek():
                    return False  # it answered and closed
                raise UpstreamError(f"sending failed: {error}", stale=self.reused) from error
            else:
                view = view[sent:]
        return True

    def answered(self) -> bool:
        """Whether an answer, or the end of the connection, has come already."""
        return bool(self._poll_now(select.POLLIN)) and self._peek()

    def read_head(self, method: str) -> tuple[Answer, AnswerParser]:
        """The head of the final answer, interim ones (1xx) skipped.

        UpstreamError with `stale` set when a reused connection ended before a byte of it.
        """
        while True:
            end = self._received.find(b"\r\n\r\n")
            if (len(self._received) if end < 0 else end) > MAX_HEAD_BYTES:
                raise UpstreamError("the head of the answer is too long")
            if end >= 0:
                parser = AnswerParser(method)
                answer = parser.feed_head(bytes(self._received[: end + 4]))
                del self._received[: end + 4]
                if answer.status >= 200:
                    return answer, parser
            else:
                self._receive_head()

    def take_received(self, limit: int) -> bytes:
        """What has been received beyond the head, at most `limit` bytes."""
        taken = bytes(self._received[:limit])
        del self._received[:limit]
        return taken

    def recv_into(self, view: memoryview) -> int:
        """Receive some bytes of a body; 0 at the end of the connection. Raises like `send`."""
        while True:
            try:
                return self._sock.recv_into(view)
            except _WANT_READ:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise UpstreamError(f"receiving failed: {error}", stale=self.reused) from error

    @property
    def usable(self) -> bool:
        """Whether an idle link may carry another request: not old, not closed, nothing unasked on it."""
        young = time.monotonic() - self.idle_since_s < _MAX_IDLE_S
        return young and not self._received and not self._poll_now(select.POLLIN | select.POLLRDHUP)

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def _receive_head(self) -> None:
        if not isinstance(self._sock, ssl.SSLSocket):  # which may hold bytes that poll does not see
            self._wait(select.POLLIN)
        size = self.recv_into(self._buffer)
        if size == 0:
            untouched = not self._received
            raise UpstreamError("the connection ended before the answer", stale=self.reused and untouched)
        self._received += self._buffer[:size]

    def _peek(self) -> bool:
        try:
            data = self._sock.recv(_READ_BYTES)
        except (*_WANT_READ, ssl.SSLWantWriteError):
            return False  # TLS tickets and the like
        except OSError:
            return bool(self._received)
        self._received += data
        return True

    def _poll_now(self, events: int) -> int:
        self._poll.modify(self._sock, events)
        mine = self._sock.fileno()
        return next((found for fd, found in self._poll.poll(0) if fd == mine), 0)

    def _wait(self, events: int) -> None:
        self._poll.modify(self._sock, events)
        wait_s = min(self._timeout_s, self._end_s - time.monotonic())
        found = self._poll.poll(wait_s * 1000) if wait_s > 0 else []
        if not found:
            raise UpstreamTimeout(f"no byte for {wait_s:.3g} s" if wait_s == self._timeout_s else "it takes too long")
        if self._client is not None and all(fd == self._client.fileno() for fd, _ in found):
            if self._client.has_left(found[0][1]):
                raise ClientGone("the task closed its connection")
            self._poll.modify(self._client, self._client.signs_of_leaving)


class Pool:
    """Opens links to one root URL, perhaps `via` another proxy, and keeps idle ones; usable by many threads.

    The system's certificates are trusted, and those in `ca_file` (StartError when it cannot be read).
    """

    def __init__(
        self, root: RootUrl, connect_timeout_s: float, timeout_s: float, ca_file: Path | None, via: Via | None = None
    ) -> None:
        self._via = via
        self.root = root
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._idle: deque[Link] = deque(maxlen=_MAX_IDLE)
        self._lock = threading.Lock()
        self._tls = _tls_context(ca_file) if root.scheme == "https" else None

    def take(self, *, fresh: bool = False) -> Link:
        """A link to the server: the one used last, or a new one. UpstreamError (not `sent`) when none opens."""
        while not fresh:
            with self._lock:
                link = self._idle.pop() if self._idle else None
            if link is None:
                break
            if link.usable:
                return link
            link.close()
        return Link(self._connect(), self._timeout_s)

    def give_back(self, link: Link) -> None:
        """Keep a link whose answer was read to its end."""
        link.release()
        with self._lock:
            oldest = self._idle.popleft() if len(self._idle) == _MAX_IDLE else None
            self._idle.append(link)
        if oldest is not None:
            oldest.close()

    def _connect(self) -> socket.socket:
        sock = None
        try:
            sock = self._dial(self.root.host, self.root.port)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._tls.wrap_socket(sock, server_hostname=self.root.host) if self._tls else sock
        except OSError as error:  # includes every ssl.SSLError
            if sock is not None:
                sock.close()
            raise UpstreamError(f"cannot connect to {self.root}: {error}", sent=False) from error

    def _dial(self, host: str, port: int) -> socket.socket:
        if self._via is not None:
            return self._via.connect(host, port, self._connect_timeout_s)
        return socket.create_connection((host, port), timeout=self._connect_timeout_s)


@functools.cache
def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except OSError as error:
        raise StartError(f"[proxy] ca_file: {ca_file}: {error}") from error
    return context
