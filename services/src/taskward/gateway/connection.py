"""Ends TCP connections the right way, and finds out which peers are gone."""

import socket
import struct
from typing import Final

_RESET: Final = struct.pack("ii", 1, 0)


def prepare(sock: socket.socket) -> None:
    """Make a connection fit to be followed for hours.

    Non-blocking; small pieces leave at once; a peer that vanished without a word is noticed after about 90 s.
    """
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    _probe(sock, first_s=60, interval_s=10, count=3)


def at_end(sock: socket.socket) -> bool:
    """Throw away what the peer sent; whether it will send nothing more.

    It may read on all the same: that it has gone shows only in what the kernel reports of itself, EPOLLERR or EPOLLHUP.
    """
    try:
        return not sock.recv(1 << 16)
    except BlockingIOError:
        return False
    except OSError:
        return True


def doubt(sock: socket.socket) -> None:
    """Ask, now and then, whether a peer that has closed its side still reads.

    One that has gone answers with a reset as soon as its system has forgotten the connection: after a minute on Linux,
    two on Windows; so it is noticed even if there is nothing to send.
    """
    if sock.family != socket.AF_UNIX:
        _probe(sock, first_s=15, interval_s=15, count=4)


def _probe(sock: socket.socket, *, first_s: int, interval_s: int, count: int) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, first_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)


def break_off(sock: socket.socket) -> None:
    """Close with a reset, so that the peer cannot take what it got for the whole."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except OSError:
        sock.close()  # already reset by the peer
        return
    sock.close()


def half_close(sock: socket.socket) -> bool:
    """Say "that was all"; False when the peer is gone already.

    The caller waits for the peer's own close before it closes: closing with unread input makes the kernel send a reset
    that can destroy the last bytes on their way (RFC 9112 §9.6).
    """
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True
