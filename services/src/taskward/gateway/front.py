"""The gunicorn side: one gthread worker process whose threads are never held by a peer.

Stock gthread gives a connection a thread before its request is there, and closes it, waiting up to 2 s for the peer, on
the only thread that accepts. A handful of slow or hostile peers could stop the gateway so. Here a connection waits in
the poller until its whole request head has arrived, and is seen off by the follower.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any, Final, cast

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from taskward.gateway.app import create_app
from taskward.gateway.follower import Follower
from taskward.gateway.handover import HandedOver
from taskward.gateway.metrics import Metrics
from taskward.gateway.settings import Settings
from taskward.gateway.shell_server import ShellServer
from taskward.gateway.tokens import RedisRegistry

HEAD_TIMEOUT_S: Final = 10.0
HEAD_LIMIT_BYTES: Final = 16 * 1024
MAX_PENDING: Final = 1024
"""Connections without a complete request; further ones wait in the kernel."""

_EMPTY: Final = b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request" + _EMPTY
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large" + _EMPTY
_log = logging.getLogger(__name__)


class HeadTooLarge(Exception):
    """A request head that is longer than `HEAD_LIMIT_BYTES`; answer 431."""


class FrontWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A gthread worker with threads for complete requests only.

    It overrides what gunicorn calls with a connection that has input (`enqueue_req`) and with one that was served
    (`finish_request`). Connections are never kept alive (setting ``keepalive = 0``).
    """

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection; one that cannot be taken (no descriptor left) must not end the process."""
        try:
            super().accept(listener)
        except OSError as error:
            _log.warning("a connection could not be accepted: %s", error.strerror)
            time.sleep(0.05)  # it stays in the kernel's queue and would be reported again at once

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection a thread if its head is complete; else let it wait for more of it."""
        if conn.timeout is None:
            conn.timeout = time.monotonic() + HEAD_TIMEOUT_S
        try:
            complete = _head_is_complete(conn.sock)
        except (HeadTooLarge, OSError) as error:
            self._discard(conn, _TOO_LARGE if isinstance(error, HeadTooLarge) else b"")
            return
        if complete:
            super().enqueue_req(conn)
        elif time.monotonic() > conn.timeout:
            self._discard(conn)
        else:
            self.pending_conns.append(conn)  # the base class closes those that wait in vain
            self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Part from a connection whose request was answered, or that was handed over."""
        error = None if fs.cancelled() else fs.exception()
        if error is not None and not isinstance(error, (HandedOver, OSError)):
            _log.error("a request failed in its thread", exc_info=error)
        self._finish(conn)

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: BaseException) -> None:
        """Answer a request that cannot be understood; unlike the base class, repeat and log nothing of it."""
        if isinstance(exc, ParseException):
            client.sendall(_BAD_REQUEST)
        else:
            _log.error("a request failed before it reached a route", exc_info=exc)

    def run(self) -> None:
        """Serve until told to stop; then break off the readers, who see that the log is incomplete and may resume."""
        try:
            super().run()
        finally:
            self._follower.stop()
            cast("GatewayServer", self.app).shells.stop()

    @property
    def _follower(self) -> Follower:
        return cast("GatewayServer", self.app).follower

    def _finish(self, conn: TConn) -> None:
        self.nr_conns -= 1
        if conn.sock.fileno() >= 0:  # else it was handed over
            self._follower.see_off(socket.socket(fileno=conn.sock.detach()))

    def _discard(self, conn: TConn, answer: bytes = b"") -> None:
        """Part from a connection that brings no request."""
        with suppress(OSError):  # it may be gone already
            conn.sock.send(answer)
        self._finish(conn)


class FrontLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's messages in the log of the process; no access log, for addresses hold tokens."""

    def setup(self, cfg: Config) -> None:
        """Called by the base class."""
        self.error_log.propagate = True
        self.error_log.setLevel(cfg.loglevel.upper())


class GatewayServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """The gateway as a gunicorn application; `run` serves until SIGTERM or SIGINT and then exits the process."""

    follower: Follower
    shells: ShellServer

    def __init__(self, settings: Settings, registry: RedisRegistry) -> None:
        self._settings = settings
        self._registry = registry
        super().__init__()

    def load_config(self) -> None:
        """Called by the base class: gunicorn's settings."""
        status = [f"unix:{self._settings.status_socket}"] if self._settings.status_socket else []
        for name, value in {
            "bind": [self._settings.address, *status],
            "worker_class": FrontWorker,
            "logger_class": FrontLogger,
            "workers": 1,
            "threads": 16,
            "worker_connections": MAX_PENDING,
            "keepalive": 0,
            "graceful_timeout": 5,
            "umask": 0o007,
            "control_socket_disable": True,
            "proc_name": "taskward-gateway",
            "post_fork": _forked,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Called by gunicorn in the worker process: start the follower and make the Flask application."""
        metrics = Metrics()
        stop: Callable[[], None] = partial(os.kill, os.getpid(), signal.SIGTERM)  # gunicorn starts another worker
        self.follower = Follower(self._settings.logs_dir, self._settings.limits, metrics, on_failure=stop)
        self.follower.start()
        self.shells = ShellServer(
            self._settings.shell_socket, self._settings.shell_resume_s, self._settings.shell_heartbeat_s, metrics
        )
        self.shells.start()
        return create_app(self._settings, self._registry, self.follower, self.shells, metrics)


def _forked(_arbiter: object, _worker: object) -> None:
    """The worker has the arbiter's handler until it sets its own, which would lose a SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _head_is_complete(sock: socket.socket) -> bool:
    """Whether the whole head of a request has arrived; if not, the poller is told to report only more than there is.

    Raises:
        HeadTooLarge: it is longer than it may be.
        OSError: the peer is gone.
    """
    try:
        head = sock.recv(HEAD_LIMIT_BYTES, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    if b"\r\n\r\n" in head.lstrip(b"\r\n") or (head and sock.family == socket.AF_UNIX):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return True
    if len(head) == HEAD_LIMIT_BYTES:
        raise HeadTooLarge
    if len(head) < sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT):
        raise ConnectionError("reported without new input: the peer has closed its side")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(head) + 1)
    return False
