"""Connections that have got everything, until their peers have closed them, too."""

import select
import socket
from typing import Final

from taskward.gateway import connection

FAREWELL_S: Final = 2.0
"""How long a connection that was told "that was all" may stay open."""


class Farewells:
    """Belongs to the thread whose `epoll` reports them."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._leaving: dict[int, tuple[socket.socket, float]] = {}

    def __len__(self) -> int:
        return len(self._leaving)

    def __contains__(self, fd: int) -> bool:
        return fd in self._leaving

    def begin(self, sock: socket.socket, now_s: float) -> None:
        """Tell the peer "that was all"; the connection is ours from now."""
        sock.setblocking(False)
        if not connection.half_close(sock):
            sock.close()
            return
        self._leaving[sock.fileno()] = (sock, now_s + FAREWELL_S)
        self._epoll.register(sock, select.EPOLLIN)

    def on_event(self, fd: int) -> None:
        """Something came: to be thrown away, or the peer's own end."""
        if connection.at_end(self._leaving[fd][0]):
            self._end(fd)

    def sweep(self, now_s: float) -> None:
        """Part from those whose time is over."""
        for fd in [fd for fd, (_, until_s) in self._leaving.items() if now_s >= until_s]:
            self._end(fd)

    def close(self) -> None:
        """Part from all of them."""
        self.sweep(float("inf"))

    def _end(self, fd: int) -> None:
        sock, _ = self._leaving.pop(fd)
        self._epoll.unregister(sock)
        sock.close()
