"""Bytes of a terminal, or of a program's streams, both ways between a client and the daemon."""

import contextlib
import socket
import threading
from typing import Final

_PIECE_BYTES: Final = 1 << 16


def splice(client: socket.socket, daemon: socket.socket) -> None:
    """Until the daemon has said everything. The client may end its side first, as after ``echo … | docker run -i``.

    A client that is gone ends the daemon's side, too: nobody would take what still comes.
    """
    typing = threading.Thread(target=_copy, args=(client, daemon), daemon=True)
    typing.start()
    _copy(daemon, client)
    end(client)
    end(daemon)
    typing.join()


def end(connection: socket.socket) -> None:
    """Whoever reads from it sees the end; twice is harmless."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
