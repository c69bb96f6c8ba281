"""A Redis that says what a test wants, byte for byte, over and over."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class ScriptedRedis:
    """Answers each connection with `script`, then waits for the client to go, or ends it.

    Attributes:
        heard: what clients said, piece by piece.
    """

    path: Path
    script: bytes = b""
    ends: bool = False
    heard: list[bytes] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):  # a client may have heard enough
                self.heard.append(connection.recv(4096))
                connection.sendall(self.script)
                while not self.ends and (more := connection.recv(4096)):
                    self.heard.append(more)


@contextmanager
def scripted_redis(path: Path) -> Iterator[ScriptedRedis]:
    """It listens at `path`."""
    server = ScriptedRedis(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
