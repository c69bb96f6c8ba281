"""A simulated Taskcluster: records requests byte for byte and answers as it is told, also badly."""

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Received:
    """One request as it came in; `fields` keeps order, case and repetition."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    connection: int = 0

    def all(self, name: str) -> list[str]:
        return [value for field_name, value in self.fields if field_name.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None


class Peer:
    """The simulated server's end of a connection, for scripts that do something special."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read_body(self, request: Received) -> bytes:
        if request.one("transfer-encoding") == "chunked":
            return b"".join(self._chunks())
        return self.file.read(int(request.one("content-length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.file.readline().split(b";")[0], 16):
            yield self.file.read(size)
            self.file.readline()
        while self.file.readline() not in (b"\r\n", b""):
            pass


Script = Callable[[Peer, Received], bool]
"""Answers one request; True keeps the connection. A script reads the body itself."""


def reply(body: bytes = b"{}", status: str = "200 OK", extra: str = "", keep: bool = True) -> Script:
    def script(peer: Peer, request: Received) -> bool:
        request.body = peer.read_body(request)
        head = f"HTTP/1.1 {status}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        peer.send(head.encode() + (b"" if request.method == "HEAD" else body))
        return keep

    return script


def raw(answer: bytes, keep: bool = False) -> Script:
    def script(peer: Peer, request: Received) -> bool:
        request.body = peer.read_body(request)
        peer.send(answer)
        return keep

    return script


def cut(peer: Peer, request: Received) -> bool:
    """Read the request and close without a byte."""
    request.body = peer.read_body(request)
    return False


@dataclass
class SimulatedTaskcluster:
    """Listens on loopback; scripts are used up in order, then `default` answers."""

    default: Script = field(default_factory=reply)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.requests: list[Received] = []
        self.scripts: deque[Script] = deque()
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def root_url(self) -> str:
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    def next(self, *scripts: Script) -> None:
        self.scripts.extend(scripts)

    def close_connections(self) -> None:
        """Close whatever is open, as a server does with idle connections."""
        opened, self._open = self._open, []
        for sock in opened:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_connections()
        self._thread.join(5)

    def wait_for(self, count: int, timeout_s: float = 5.0) -> list[Received]:
        deadline = time.monotonic() + timeout_s
        while len(self.requests) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.requests

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self._open.append(sock)
            peer = Peer(sock)
            with peer.file:
                while self._one(peer, number):
                    pass
        except (OSError, ValueError):
            return  # cut by the other side, or by us
        finally:
            sock.close()

    def _one(self, peer: Peer, number: int) -> bool:
        line = peer.file.readline().decode("latin-1").split()
        if not line:
            return False
        fields: list[tuple[str, str]] = []
        while (text := peer.file.readline().decode("latin-1").strip()) != "":
            name, _, value = text.partition(":")
            fields.append((name, value.strip()))
        request = Received(line[0], line[1], fields, connection=number)
        self.requests.append(request)
        script = self.scripts.popleft() if self.scripts else self.default
        return script(peer, request)


@contextmanager
def simulated_taskcluster(tls: ssl.SSLContext | None = None) -> Iterator[SimulatedTaskcluster]:
    server = SimulatedTaskcluster(tls=tls)
    try:
        yield server
    finally:
        server.close()
