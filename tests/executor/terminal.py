"""The gateway's side of one interactive shell, over the socket that the executor offers."""

import os
import select
import socket
import time
from pathlib import Path

from taskward.core.shell import (
    LARGEST_MESSAGE,
    Attach,
    End,
    Ended,
    Exited,
    Message,
    Open,
    Opened,
    Show,
    decode,
    encode,
    short_address,
)

PATIENCE_S = 10.0
INTERACTIVE = Open((), terminal=True, resume_s=5.0)


class Shell:
    """Asks for a shell; `answer` is what came back."""

    def __init__(self, path: Path, wish: Open | Attach | Show = INTERACTIVE) -> None:
        self.connection = connect(path)
        self.connection.send(encode(wish))
        packet, self.descriptors, _, _ = socket.recv_fds(self.connection, LARGEST_MESSAGE, 3)
        self.answer = decode(packet)
        self.output = b""

    @property
    def session(self) -> str:
        assert isinstance(self.answer, Opened), self.answer
        return self.answer.session

    def type(self, text: str) -> None:
        os.write(self.descriptors[0], text.encode())

    def read_until(self, text: str) -> str:
        """Everything printed so far, once `text` is in it."""
        deadline = time.monotonic() + PATIENCE_S
        while text.encode() not in self.output:
            assert time.monotonic() < deadline, self.output
            if select.select([self.descriptors[0]], [], [], 0.05)[0]:
                self.output += os.read(self.descriptors[0], 65536)
        return self.output.decode(errors="replace")

    def told(self) -> Message | None:
        """The next message; None when the connection is closed."""
        packet = self.connection.recv(LARGEST_MESSAGE)
        return decode(packet) if packet else None

    def end(self) -> None:
        self.connection.send(encode(End()))
        self.vanish()

    def vanish(self) -> None:
        """As a gateway that was killed."""
        self.connection.close()
        for fd in self.descriptors:
            os.close(fd)
        self.descriptors = []


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(PATIENCE_S)
    try:
        with short_address(path) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


__all__ = ["INTERACTIVE", "Attach", "End", "Ended", "Exited", "Open", "Shell", "connect"]
