"""The gunicorn worker: gthread, made fair between tasks, deaf to strangers and quicker for busy connections."""

import contextlib
import ctypes
import errno
import logging
import select
import selectors
import signal
import socket
import time
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from taskward.proxy.app import ProxyApp
from taskward.proxy.caller import Callers
from taskward.proxy.connection import TaskSocket
from taskward.proxy.errors import Refused, StoreUnavailable
from taskward.proxy.fairness import FairShare
from taskward.proxy.head import MAX_HEAD_BYTES, Connection, Head

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
_LINGER_MS: Final = 50
_CLOSE_S: Final = 1.0
_LOG_REFUSAL_EVERY_S: Final = 1.0
_EMPTY: Final = b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FORBIDDEN: Final = b"HTTP/1.1 403 Forbidden" + _EMPTY
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout" + _EMPTY
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large" + _EMPTY
_UNAVAILABLE: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1" + _EMPTY


def _die_with_parent() -> None:
    """Have the kernel kill this process when gunicorn's arbiter dies, so that the port is free for the next one."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


_Worker: Any = ThreadWorker  # gunicorn has no types, and what could be guessed from its code is not what it promises


class ProxyWorker(_Worker):  # type: ignore[misc]  # see above
    """What differs from gunicorn's own gthread worker:

    * Who is calling is asked of the kernel when a connection is accepted, and looked up before a byte of a
      request is parsed; strangers get a bare 403, whoever cannot be a task (see `caller`) not even that.
    * A connection takes a thread to find out who it is when it has sent something, and to be served when the head of
      its request is whole; `FairShare` decides whose turn it is. One user, or one network of containers, can hold a
      limited number of connections. A head or body that stalls ends in a time-out. Waiting for a client to close
      happens on its own thread and not on the accepting one.
    * A connection stays on its thread between requests while threads are plenty, which saves two hand-overs each.
    """

    wsgi: ProxyApp

    def init_process(self) -> None:
        """Called once in the worker process (gunicorn)."""
        _die_with_parent()
        settings = self.app.settings
        self._callers = Callers()
        self._share: FairShare[Connection] = FairShare(settings.threads, settings.requests_per_task)
        self._head_timeout_s = settings.head_timeout_s
        self._body_timeout_s = settings.client_timeout_s
        self._connections_per_user = settings.connections_per_user
        self._connections: dict[int | str, int] = {}
        self._unfinished: dict[Connection, float] = {}  # until when their heads have time, the earliest first
        self._refusal_logged_s = 0.0
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application (gunicorn) and let it show what only the worker knows."""
        super().load_wsgi()
        self.wsgi.metrics.gauge("requests_in_flight", "Requests being served.", lambda: self._share.running)
        self.wsgi.metrics.gauge("connections", "Open connections of tasks.", lambda: self.nr_conns)

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection and wait, without a thread, for its first byte (gunicorn)."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            log.error("cannot accept a connection: %s", error)
            time.sleep(0.05)  # out of descriptors, most likely: some will be closed meanwhile
            return
        if sock.family == socket.AF_INET:
            caller = self._callers.identify(sock)
            if caller is None:
                self._hang_up(sock)
                return
            sock = TaskSocket(sock, caller)
            held = self._connections.get(sock.account, 0)
            if held >= self._connections_per_user:
                self._hang_up(sock)
                return
            self._connections[sock.account] = held + 1
        self.nr_conns += 1
        self._await_first_byte(Connection(self.cfg, sock, client, listener.getsockname()))

    def _hang_up(self, sock: socket.socket) -> None:
        self.wsgi.metrics.count("refused")
        sock.close()

    def enqueue_req(self, conn: Connection) -> None:
        """Give a connection that has sent something a thread, as soon as it is its turn (gunicorn).

        One that has one had already, but not yet sent all of a head, waits for that without.
        """
        if conn.unfinished and conn.collect() is Head.PARTIAL:
            self._unfinished[conn] = time.monotonic() + self._head_timeout_s
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_more_of_a_head, conn))
            return
        for ready in self._share.offer(conn.caller, conn):
            super().enqueue_req(ready)

    def _on_more_of_a_head(self, conn: Connection, _sock: socket.socket) -> None:
        if conn.collect() is not Head.PARTIAL:
            self._stop_waiting(conn)
            self.enqueue_req(conn)

    def _stop_waiting(self, conn: Connection) -> None:
        conn.unfinished = False
        del self._unfinished[conn]
        self.poller.unregister(conn.sock)

    def finish_request(self, conn: Connection, fs: "Future[bool]") -> None:
        """Take a thread back (gunicorn)."""
        ready = self._share.finished(conn.caller)
        super().finish_request(conn, fs)
        for other in ready:
            super().enqueue_req(other)
        self._count_closed(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """On stopping, do not wait for silent connections (gunicorn forgets those that never sent a byte)."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
        for conn, until_s in self._unfinished.items():
            self._unfinished[conn] = min(until_s, deadline)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close what was idle for too long (gunicorn), and count it."""
        self._counting(self.keepalived_conns, partial(super().murder_keepalived, force))

    def murder_pending(self) -> None:
        """Close what never sent a byte (gunicorn), or never a whole head, and count it."""
        self._counting(self.pending_conns, super().murder_pending)
        while self._unfinished:
            conn, until_s = next(iter(self._unfinished.items()))
            if time.monotonic() < until_s:
                return
            self._stop_waiting(conn)
            with contextlib.suppress(OSError):  # it may be gone already
                conn.sock.send(_TOO_SLOW)
            conn.close()
            self.nr_conns -= 1
            self._count_closed(conn)

    def handle(self, conn: Connection) -> bool:
        """Serve requests of a connection on a pool thread; True when it should be kept (gunicorn)."""
        keep = self._serve(conn)
        while keep and not conn.unfinished and self.alive and self._share.relaxed and self._more_to_come(conn):
            keep = self._serve(conn)
        if not keep:
            if isinstance(conn.sock, TaskSocket):
                conn.sock.wait_at_most(_CLOSE_S)
            util.close_graceful(conn.sock, timeout=_CLOSE_S, max_drain=1 << 30)
        return keep

    def _serve(self, conn: Connection) -> bool:
        sock = conn.sock
        if not isinstance(sock, TaskSocket):
            return bool(super().handle(conn))
        if not self._admitted(sock):
            return False
        head = conn.collect()
        sock.wait_at_most(self._body_timeout_s)
        if head is Head.TOO_LARGE:
            self._say(sock, _TOO_LARGE)
        if head is not Head.WHOLE:
            return head is Head.PARTIAL
        return bool(super().handle(conn)) and not sock.close_after

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """The head is parsed (gunicorn); what follows the last chunk of a body is no larger than one."""
        chunks: Any = getattr(req.body, "reader", None)
        if hasattr(chunks, "limit_trailer_section"):
            chunks.limit_trailer_section = chunks.limit_chunk_size_line = MAX_HEAD_BYTES
        return bool(super().handle_request(req, conn))

    def _admitted(self, sock: TaskSocket) -> bool:
        try:
            self.wsgi.gate.admit(sock)
        except Refused as refusal:
            self._refuse(sock, _FORBIDDEN, str(refusal))
        except StoreUnavailable as error:
            self._refuse(sock, _UNAVAILABLE, str(error))
        else:
            return True
        return False

    def _refuse(self, sock: TaskSocket, answer: bytes, reason: str) -> None:
        self.wsgi.metrics.count("refused")
        if time.monotonic() - self._refusal_logged_s > _LOG_REFUSAL_EVERY_S:  # strangers must not fill the log
            self._refusal_logged_s = time.monotonic()
            log.warning("refused a connection: %s", reason)
        self._say(sock, answer)

    def _say(self, sock: TaskSocket, answer: bytes) -> None:
        sock.settimeout(_CLOSE_S)
        try:
            sock.sendall(answer)
        except OSError as error:
            log.debug("nobody waits for the refusal: %s", error)

    def _more_to_come(self, conn: Connection) -> bool:
        if conn.parser.unreader.buf.getvalue():
            return True
        readable = select.poll()
        readable.register(conn.sock, select.POLLIN)
        return bool(readable.poll(_LINGER_MS))

    def _await_first_byte(self, conn: Connection) -> None:
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _counting(self, conns: Any, murder: Any) -> None:
        before = list(conns)
        murder()
        for conn in before[: len(before) - len(conns)]:
            self._count_closed(conn)

    def _count_closed(self, conn: Connection) -> None:
        sock = conn.sock
        if not isinstance(sock, TaskSocket) or sock.fileno() >= 0:
            return
        left = self._connections.get(sock.account, 0) - 1
        if left > 0:
            self._connections[sock.account] = left
        else:
            self._connections.pop(sock.account, None)
