"""A socket between a client and the Docker daemon that can be cut, as when the daemon is restarted."""

import contextlib
import select
import socket
import threading
from pathlib import Path
from typing import Final

DAEMON: Final = "/var/run/docker.sock"
_CHUNK_BYTES: Final = 1 << 16


class Switch:
    """Listens at `path`; every connection is led to the daemon until `cut`."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Nobody listens any more, and every connection ends."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX)
            daemon.connect(DAEMON)
            self._pairs.append((client, daemon))
            self._threads.append(threading.Thread(target=_pass_on, args=(client, daemon), daemon=True))
            self._threads[-1].start()


def _pass_on(client: socket.socket, daemon: socket.socket) -> None:
    other = {client: daemon, daemon: client}
    with client, daemon:
        while True:
            for ready in select.select([*other], [], [])[0]:
                try:
                    data = ready.recv(_CHUNK_BYTES)
                    other[ready].sendall(data)
                except OSError:
                    return
                if not data:
                    return
