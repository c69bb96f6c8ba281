"""A further program in a container that runs (the daemon's ``exec``): confined as the container is.

The stream is spoken by hand: what the daemon sends together with the head of its answer must not be lost, and the
daemon's client has no way to give it back.
"""

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from taskward.executor.docker.daemon import Daemon, DaemonRefused
from taskward.executor.errors import EngineFailed

_UNIX: Final = "unix://"
_DETACH_KEYS: Final = ",".join(["ctrl-^", "ctrl-]"] * 8)  # nobody types these; the usual ones are a shell's own
_LONGEST_HEAD: Final = 1 << 14
_LONGEST_ERROR: Final = 1 << 16
_STARTED: Final = (101, 200)
_BLOCK_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class State:
    """What the daemon knows: `pid` is 0 where it has none, `exit_code` counts once it does not run."""

    running: bool
    exit_code: int
    pid: int
    container_id: str

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Self:
        """From the daemon's description."""
        return cls(
            bool(told["Running"]), int(told.get("ExitCode") or 0), int(told.get("Pid") or 0), told["ContainerID"]
        )


class Execution:
    """`start` it once; `DaemonRefused` and `DaemonAway` may be raised by everything."""

    def __init__(self, daemon: Daemon, container: str, argv: Sequence[str], environment: Mapping[str, str],
                 terminal: bool) -> None:  # fmt: skip
        self._daemon, self.terminal = daemon, terminal
        with daemon.asking("make a program in the container"):
            self._id = str(
                daemon.api.exec_create(
                    container, list(argv), stdin=True, tty=terminal, environment=dict(environment),
                    detach_keys=_DETACH_KEYS,
                )["Id"]
            )  # fmt: skip

    def start(self) -> socket.socket:
        """Runs it; its input, and its output as a terminal prints it, or in `frames`.

        Raises:
            EngineFailed: the daemon has no Unix socket.
        """
        host = self._daemon.settings.host
        if not host.startswith(_UNIX):
            raise EngineFailed(f"interactive shells need the Docker daemon's Unix socket ([docker] host is {host})")
        path, body = f"/v{self._daemon.api.api_version}/exec/{self._id}/start", {"Detach": False, "Tty": self.terminal}
        with self._daemon.asking("start a program in the container"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(self._daemon.settings.timeout_s)
                connection.connect(host.removeprefix(_UNIX))
                _upgrade(connection, path, json.dumps(body).encode())
                connection.settimeout(None)
            except BaseException:
                connection.close()
                raise
        return connection

    def resize(self, rows: int, columns: int) -> None:
        """Of its terminal."""
        with self._daemon.asking("resize a terminal of the container"):
            self._daemon.api.exec_resize(self._id, height=rows, width=columns)

    def state(self) -> State:
        """Now."""
        with self._daemon.asking("describe a program in the container"):
            return State.parse(self._daemon.api.exec_inspect(self._id))


def frames(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Output of a program without a terminal: 1 or 2 as standard output or error, and what was printed there."""
    with connection.makefile("rb") as stream:
        while len(head := stream.read(8)) == 8:
            left_bytes = int.from_bytes(head[4:], "big")
            while left_bytes and (block := stream.read(min(left_bytes, _BLOCK_BYTES))):
                left_bytes -= len(block)
                yield (2 if head[0] == 2 else 1), block


def _upgrade(connection: socket.socket, path: str, body: bytes) -> None:
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nConnection: Upgrade\r\n"
        f"Upgrade: tcp\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)  # what follows the head is the program's
        if not byte or len(head) > _LONGEST_HEAD:
            raise ConnectionError("the answer broke off")
        head += byte
    status = int(head.split(b" ", 2)[1])
    if status not in _STARTED:
        reason = connection.recv(_LONGEST_ERROR).decode(errors="replace")
        raise DaemonRefused("start a program in the container", status, reason.strip())
