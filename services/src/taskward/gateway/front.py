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
from functools import partial
from selectors import EVENT_READ
from typing import Any, Final

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from taskward.gateway.app import create_app
from taskward.gateway.follower import Follower
from taskward.gateway.metrics import Metrics
from taskward.gateway.settings import Settings
from taskward.gateway.tokens import RedisRegistry

HEAD_TIMEOUT_S: Final = 10.0
HEAD_LIMIT_BYTES: Final = 16 * 1024

_EMPTY: Final = b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request" + _EMPTY
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large" + _EMPTY
_log = logging.getLogger(__name__)


class FrontWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A gthread worker with threads for complete requests only.

    It overrides what gunicorn calls with a connection that could be served (`enqueue_req`) and with one that was
    (`finish_request`). Connections are never kept alive (setting ``keepalive = 0``).
    """

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection a thread if its head is complete; else let it wait for more of it."""
        now_s = time.monotonic()
        if conn.timeout is None:
            conn.timeout = now_s + HEAD_TIMEOUT_S
        try:
            head = conn.sock.recv(HEAD_LIMIT_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            self._wait_for_input(conn)
            return
        except OSError:
            self._discard(conn)
            return
        if b"\r\n\r\n" in head or (head and conn.sock.family == socket.AF_UNIX):
            _wake_at(conn.sock, 1)
            super().enqueue_req(conn)
        elif len(head) == HEAD_LIMIT_BYTES:
            conn.sock.send(_TOO_LARGE)
            self._finish(conn)
        elif len(head) < _wakes_at(conn.sock) or now_s > conn.timeout:  # woken for less: the peer has closed
            self._discard(conn)
        else:
            _wake_at(conn.sock, len(head) + 1)
            self._wait_for_input(conn)

    def finish_request(self, conn: TConn, _served: Future[Any]) -> None:
        """Part from a connection whose request was answered, or that was handed over."""
        self._finish(conn)

    def handle_error(self, _request: object, client: socket.socket, _address: object, error: Exception) -> None:
        """Answer a request that cannot be understood; unlike the base class, repeat and log nothing of it."""
        if isinstance(error, ParseException):
            client.sendall(_BAD_REQUEST)
        else:
            _log.error("a request failed before it reached a route", exc_info=error)

    def run(self) -> None:
        """Serve until told to stop; then break off the readers, who see that the log is incomplete and may resume."""
        try:
            super().run()
        finally:
            self.app.follower.stop()

    def _wait_for_input(self, conn: TConn) -> None:
        self.pending_conns.append(conn)  # the base class closes those that wait beyond their timeout
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _finish(self, conn: TConn) -> None:
        self.nr_conns -= 1
        if conn.sock.fileno() >= 0:  # else it was handed over
            self.app.follower.see_off(socket.socket(fileno=conn.sock.detach()))

    def _discard(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()


class FrontLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's messages in the log of the process; no access log, for addresses hold tokens."""

    def setup(self, _cfg: Config) -> None:
        """Called by the base class."""
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)


class GatewayServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """The gateway as a gunicorn application; `run` serves until SIGTERM or SIGINT and then exits the process."""

    follower: Follower

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
            "worker_connections": 4096,  # without a complete request yet; further ones wait in the kernel
            "keepalive": 0,
            "graceful_timeout": 5,
            "umask": 0o007,
            "control_socket_disable": True,
            "proc_name": "taskward-gateway",
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called by gunicorn in the worker process: start the follower and make the Flask application."""
        metrics = Metrics()
        stop: Callable[[], None] = partial(os.kill, os.getpid(), signal.SIGTERM)  # gunicorn starts another worker
        self.follower = Follower(self._settings.logs_dir, self._settings.limits, metrics, on_failure=stop)
        self.follower.start()
        return create_app(self._settings, self._registry, self.follower, metrics)


def _wake_at(sock: socket.socket, count: int) -> None:
    """Let the poller report input from `count` bytes on only, or the peer's close."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def _wakes_at(sock: socket.socket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
