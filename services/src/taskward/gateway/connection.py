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
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def peer_left(sock: socket.socket) -> bool:
    """Throw away what the peer sent; whether it has closed its side (which a reader does when it leaves)."""
    try:
        return not sock.recv(1 << 16)
    except BlockingIOError:
        return False
    except OSError:
        return True


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
