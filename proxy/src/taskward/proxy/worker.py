"""The gunicorn worker: gthread, made fair between tasks, deaf to strangers and quicker for busy connections."""

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
from gunicorn.workers.gthread import TConn, ThreadWorker

from taskward.proxy.app import ProxyApp
from taskward.proxy.caller import Callers
from taskward.proxy.connection import TaskSocket
from taskward.proxy.errors import Refused, StoreUnavailable
from taskward.proxy.fairness import FairShare

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
_LINGER_MS: Final = 50
_CLOSE_S: Final = 1.0
_LOG_REFUSAL_EVERY_S: Final = 1.0
_FORBIDDEN: Final = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_UNAVAILABLE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
)


def _die_with_parent() -> None:
    """Have the kernel kill this process when gunicorn's arbiter dies, so that the port is free for the next one."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


# gunicorn has no types, and what could be guessed from its code is not what it promises
_Connection: Any = TConn
_Worker: Any = ThreadWorker


class Connection(_Connection):  # type: ignore[misc]  # see above
    """A connection as gunicorn keeps it, and on whose account it is (`caller`)."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.caller: tuple[object, str] = (None, "status")
        if isinstance(sock, TaskSocket):
            self.caller = (sock.account, sock.address)

    def close(self, graceful: bool = False) -> None:
        """Close at once: the slow part was done by `ProxyWorker.handle`, this runs on the one accepting thread."""
        util.close(self.sock)


class ProxyWorker(_Worker):  # type: ignore[misc]  # see above
    """What differs from gunicorn's own gthread worker:

    * Who is calling is asked of the kernel when a connection is accepted, and looked up before a byte of a
      request is parsed; strangers get a bare 403, whoever cannot be a task (see `caller`) not even that.
    * A connection takes a thread only when it has sent something, and `FairShare` decides whose turn it is; one user,
      or one network of containers, can hold a limited number of connections. A stalled head or body ends in a
      time-out. Waiting for a client to close happens on its own thread and not on the accepting one.
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
        """Give a connection that has sent something a thread, as soon as it is its turn (gunicorn)."""
        for ready in self._share.offer(conn.caller, conn):
            super().enqueue_req(ready)

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

    def murder_keepalived(self, force: bool = False) -> None:
        """Close what was idle for too long (gunicorn), and count it."""
        self._counting(self.keepalived_conns, partial(super().murder_keepalived, force))

    def murder_pending(self) -> None:
        """Close what never sent a byte (gunicorn), and count it."""
        self._counting(self.pending_conns, super().murder_pending)

    def handle(self, conn: Connection) -> bool:
        """Serve requests of a connection on a pool thread; True when it should be kept (gunicorn)."""
        keep = self._serve(conn)
        while keep and self.alive and self._share.relaxed and self._more_to_come(conn):
            keep = self._serve(conn)
        if not keep:
            if isinstance(conn.sock, TaskSocket):
                conn.sock.expect_body(_CLOSE_S)
            util.close_graceful(conn.sock, timeout=_CLOSE_S, max_drain=1 << 30)
        return keep

    def _serve(self, conn: Connection) -> bool:
        sock = conn.sock
        if not isinstance(sock, TaskSocket):
            return bool(super().handle(conn))
        if not self._admitted(sock):
            return False
        sock.expect_head(self._head_timeout_s)
        return bool(super().handle(conn)) and not sock.close_after

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """The head is complete (gunicorn)."""
        if isinstance(conn.sock, TaskSocket):
            conn.sock.expect_body(self._body_timeout_s)
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
        sock.settimeout(_CLOSE_S)
        try:
            sock.sendall(answer)
        except OSError as error:
            log.debug("the stranger has gone: %s", error)

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
