"""The task's Docker socket: accepts connections, finds who handles a request, and tells everybody else that it may not.

One thread waits for connections and for clients that go away; each connection has a thread of its own, and one request.
"""

import contextlib
import logging
import select
import socket
import threading
from collections.abc import Callable
from typing import Final

from taskward.executor.docker.dind import arrivals, builds, containers, images, programs, system, volumes
from taskward.executor.docker.dind.context import Context, Route
from taskward.executor.docker.dind.errors import BROKEN, WRONG, Refusal, forbidden
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.request import Request

ROUTES: Final[tuple[Route, ...]] = (
    *system.ROUTES, *containers.ROUTES, *programs.ROUTES, *volumes.ROUTES, *builds.ROUTES, *arrivals.ROUTES,
    *images.ROUTES,
)  # fmt: skip
MOST_CONNECTIONS: Final = 64
_ACCEPTED_AT_ONCE: Final = 16
_TOLD_WITHIN_S: Final = 1.0
_LINGERS, _LINGER_BYTES = 64, 1 << 16

_logger = logging.getLogger(__name__)


class Server:
    """Serves `listener` until `stop` is readable, or its other end is closed."""

    def __init__(self, listener: socket.socket, stop: int, context: Context) -> None:
        self._listener, self._stop, self._context = listener, stop, context
        self._poll = select.epoll()
        self._lock = threading.Lock()
        self._hangups: dict[int, list[Callable[[], None]]] = {}

    def run(self) -> None:
        """In the main thread of a process that ends afterwards, and with it every thread."""
        self._listener.setblocking(False)
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(self._stop, select.EPOLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._stop:
                    return
                if fd == self._listener.fileno():
                    self._accept()
                else:
                    self._hang_up(fd)

    def serve(self, connection: socket.socket) -> None:
        """One connection, in a thread of its own."""
        with connection:
            fd = connection.fileno()
            self._poll.register(fd, 0)
            try:
                if not self._answer(connection):
                    _linger(connection)
            except OSError:
                return  # the client is gone: nobody is to be told anything
            except Exception:
                _logger.exception("a request to the task's Docker socket went wrong")
            finally:
                with self._lock:
                    with contextlib.suppress(OSError, ValueError):
                        self._poll.unregister(fd)
                    self._hangups.pop(fd, None)

    def _answer(self, connection: socket.socket) -> bool:
        """Whether the connection was the client's own at last, for a terminal or the like."""
        try:
            request = Request.read(connection)
        except Refusal as refusal:
            connection.settimeout(_TOLD_WITHIN_S)
            connection.sendall(f"HTTP/1.1 {refusal.status} Refused\r\nConnection: close\r\n\r\n".encode())
            connection.sendall(f"{refusal.message[:500]}\n".encode())
            return False
        exchange = Exchange(connection, request, lambda act: self._on_hangup(connection.fileno(), act))
        try:
            self._dispatch(exchange)
        except Refusal as refusal:
            if exchange.answered:
                raise ConnectionAbortedError(refusal.message) from refusal
            request.body.drain()
            exchange.refuse(refusal)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            _logger.exception("a request to the task's Docker socket went wrong", extra={"path": request.path})
            if not exchange.answered:
                exchange.refuse(Refusal(BROKEN, f"the worker could not understand the daemon: {error!r}"))
        return exchange.upgraded

    def _dispatch(self, exchange: Exchange) -> None:
        request, own = exchange.request, self._context.wire.version
        if request.version is not None and not system.is_known(request.version, own):
            asked = ".".join(map(str, request.version))
            raise Refusal(WRONG, f"client version {asked} is too new. Maximum supported API version is {own}")
        for each in ROUTES:
            if each.method == request.method and (found := each.pattern.fullmatch(request.path)):
                request.query.expect(each.parameters)
                each.handler(self._context, exchange, *found.groups())
                return
        raise forbidden(f"{request.method} {request.path[:200]} is not offered to tasks")

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            connection.setblocking(True)
            if threading.active_count() > MOST_CONNECTIONS:
                connection.close()
                continue
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def _on_hangup(self, fd: int, act: Callable[[], None]) -> None:
        with self._lock:
            self._hangups.setdefault(fd, []).append(act)

    def _hang_up(self, fd: int) -> None:
        """Both directions are closed: whatever is done for the client ends."""
        with self._lock:
            with contextlib.suppress(OSError, ValueError):
                self._poll.unregister(fd)
            for act in self._hangups.pop(fd, ()):
                act()


def _linger(connection: socket.socket) -> None:
    """To close what still has something to be read would take the answer away from the client."""
    connection.settimeout(_TOLD_WITHIN_S)
    connection.shutdown(socket.SHUT_WR)
    for _ in range(_LINGERS):
        if not connection.recv(_LINGER_BYTES):
            return
