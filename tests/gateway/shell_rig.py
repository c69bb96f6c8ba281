"""The executor's side of shells, simulated: programs that run as this user; and web sockets that use them."""

import json
import os
import secrets
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import websocket

from gateway.rig import PATIENCE_S, TASK_ID, Gateway
from taskward.core import keys
from taskward.core.ids import RunId
from taskward.core.shell import (
    LARGEST_MESSAGE,
    Attach,
    End,
    Ended,
    Exited,
    Message,
    Open,
    Opened,
    Refused,
    Show,
    decode,
    encode,
)
from taskward.gateway.settings import Settings


class Shell:
    """A program that the simulated executor has started, and the connection that may end it."""

    def __init__(self, argv: tuple[str, ...], *, terminal: bool) -> None:
        self.name = secrets.token_urlsafe(16)
        self._lock = threading.Lock()
        self.terminal: int | None = None
        if terminal:
            self.terminal, theirs = os.openpty()
            own, ends = [theirs] * 3, []
            self.descriptors = [os.dup(self.terminal)]
        else:
            pipes = [os.pipe() for _ in range(3)]
            own = [pipes[0][0], pipes[1][1], pipes[2][1]]
            ends = [pipes[0][1], pipes[1][0], pipes[2][0]]
            self.descriptors = ends
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "PS1": "$ "}
        self.process = subprocess.Popen(
            argv or ("bash", "--norc"), stdin=own[0], stdout=own[1], stderr=own[2], start_new_session=True,
            env=environment,
        )  # fmt: skip
        for fd in set(own):
            os.close(fd)

    def again(self) -> list[int]:
        with self._lock:
            assert self.terminal is not None
            return [os.dup(self.terminal)]

    def end(self) -> None:
        """From any thread, more than once."""
        with self._lock:
            self.process.kill()
            self.process.wait()
            if self.terminal is not None:
                os.close(self.terminal)
                self.terminal = None


class Task:
    """A run that offers shells; `received` is what the gateway has asked for.

    `lists` and `shows` are the scripts behind its displays.
    """

    def __init__(self, gateway: Gateway, redis: Any, run_id: int = 0) -> None:
        self.run = RunId(TASK_ID, run_id)
        self.secret = secrets.token_urlsafe(32)
        self.path: Path = Settings.load(gateway.config).shell_socket(self.run)
        self.received: list[Message] = []
        self.shells: dict[str, Shell] = {}
        self.refusal: Refused | None = None
        self.lists, self.shows = "printf ':7.0\\t320x200\\n'", "cat"
        self._connections: list[socket.socket] = []
        self._port = gateway.port
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self.path))
        self._listener.listen()
        entry = json.dumps({"taskId": self.run.task_id, "runId": self.run.run_id})
        redis.set(keys.shell(self.secret), entry)
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self, *, farewell: bool = True) -> None:
        """The task is over; without `farewell` as if its process had been killed."""
        for connection in self._connections:
            if farewell:
                _try(lambda connection=connection: connection.send(encode(Ended("the task has ended"))))  # type: ignore[misc]
            _try(lambda connection=connection: connection.shutdown(socket.SHUT_RDWR))  # type: ignore[misc]
        self._connections.clear()
        _try(lambda: self._listener.shutdown(socket.SHUT_RDWR))
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for shell in list(self.shells.values()):
            shell.end()

    def terminal(self, query: str = "", **options: Any) -> "Terminal":
        return Terminal(self._port, f"/shell/{self.secret}{query}", **options)

    @property
    def pids(self) -> list[int]:
        """The programs that run now."""
        return [shell.process.pid for shell in list(self.shells.values()) if shell.process.poll() is None]

    def is_blocked(self) -> bool:
        """Whether a program that a shell has started waits for its terminal."""
        lists = [Path(f"/proc/{pid}/task/{pid}/children").read_text() for pid in self.pids]
        children = " ".join(lists).split()
        return any(Path(f"/proc/{pid}/wchan").read_text() == "wait_woken" for pid in children)

    def display(self, query: str = "display=:7") -> "WebSocket":
        return WebSocket(self._port, f"/shell/{self.secret}/display.sock?{query}")

    def streams(self, *argv: str, tty: bool = False) -> "Streams":
        words = "".join(f"&command={word}" for word in argv)
        return Streams(self._port, f"/shell/{self.secret}/shell.sock?tty={'true' if tty else 'false'}{words}")

    def _start(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._start(lambda connection=connection: self._answer(connection))  # type: ignore[misc]

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            wish = decode(connection.recv(LARGEST_MESSAGE))
            self.received.append(wish)
            if self.refusal is not None:
                connection.send(encode(self.refusal))
                return
            if isinstance(wish, Attach):
                shell = self.shells.get(wish.session)
                if shell is None:
                    connection.send(encode(Refused("gone")))
                    return
                descriptors = shell.again()
            else:
                assert isinstance(wish, Open | Show)
                if isinstance(wish, Open):
                    shell = Shell(wish.argv, terminal=wish.terminal)
                else:
                    shell = Shell(("sh", "-c", self.shows if wish.display else self.lists), terminal=False)
                self.shells[shell.name] = shell
                descriptors = shell.descriptors
            socket.send_fds(connection, [encode(Opened(shell.name))], descriptors)
            for fd in descriptors:
                os.close(fd)
            self._start(lambda: self._wait(shell, connection))
            while packet := _try(lambda: connection.recv(LARGEST_MESSAGE)):
                self.received.append(decode(packet))
                if isinstance(self.received[-1], End):
                    self.shells.pop(shell.name, None)
                    shell.end()

    @staticmethod
    def _wait(shell: Shell, connection: socket.socket) -> None:
        code = shell.process.wait()
        _try(lambda: connection.send(encode(Exited(code if code >= 0 else 128 - code))))


class WebSocket:
    """A web socket of another library than the gateway's."""

    def __init__(self, port: int, target: str, **options: Any) -> None:
        url = f"ws://127.0.0.1:{port}{target}"
        self.socket = websocket.create_connection(url, timeout=PATIENCE_S, **options)
        self.told: list[dict[str, Any]] = []
        self.output: bytes = b""
        self.code = 0
        self.reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(timeout=1)
        if self.socket.sock is not None:
            self.socket.sock.close()

    def cut(self) -> None:
        """The connection breaks, without a closing message."""
        sock = self.socket.sock
        assert sock is not None
        sock.close()

    def receive(self) -> bool:
        """The next message; False when it was the closing one."""
        opcode, data = self.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self.code, self.reason = struct.unpack("!H", data[:2])[0], data[2:].decode()
            return False
        if opcode == websocket.ABNF.OPCODE_TEXT:
            self.told.append(json.loads(data))
        else:
            self.take(data)
        return True

    def take(self, data: bytes) -> None:
        self.output += data

    def until(self, text: str) -> bytes:
        """Everything printed so far, once `text` is in it."""
        while text.encode() not in self.output:
            assert self.receive(), (self.code, self.reason, self.output[-500:])
        return self.output

    def until_closed(self) -> int:
        """The closing code, after everything else was read."""
        while self.receive():
            pass
        return self.code


class Terminal(WebSocket):
    """Protocol v2."""

    def type(self, text: str) -> None:
        self.socket.send_binary(b"\x01" + text.encode())

    def resize(self, rows: int, columns: int) -> None:
        self.socket.send_binary(b"\x02" + struct.pack("<HH", rows, columns))

    def session(self) -> dict[str, Any]:
        """What the gateway told of the session."""
        while not self.told:
            assert self.receive(), (self.code, self.reason)
        return self.told[0]


class Streams(WebSocket):
    """Protocol v1; `output` and `errors` apart."""

    def __init__(self, port: int, target: str) -> None:
        self.errors = b""
        self.others: list[bytes] = []
        super().__init__(port, target)

    def send(self, kind: int, data: bytes = b"") -> None:
        self.socket.send_binary(bytes([kind]) + data)

    def send_without_end(self) -> None:
        while True:
            self.send(0, bytes(100_000))

    def take(self, data: bytes) -> None:
        if data[0] == 1:
            self.output += data[1:]
        elif data[0] == 2:
            self.errors += data[1:]
        else:
            self.others.append(data)


def _try(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except OSError:
        return None
