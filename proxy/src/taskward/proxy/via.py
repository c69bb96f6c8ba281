"""A way to servers that this host does not reach itself: another proxy, of HTTP (CONNECT) or SOCKS 5."""

import socket
import struct
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 3128, "socks5": 1080}
_MAX_ANSWER_BYTES: Final = 16 * 1024
_SOCKS_NAME: Final = 3
_SOCKS_ADDRESS_BYTES: Final = {1: 4, 4: 16}


@dataclass(frozen=True)
class Via:
    """Where that proxy is; it asks for no password. `scheme` is ``http`` or ``socks5``."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``http://host:port`` or ``socks5://host:port``; ValueError tells what is wrong with it."""
        parts = urlsplit(text)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"{text!r} is not of the form http://host:port or socks5://host:port")
        if parts.username is not None:
            raise ValueError("a proxy that wants a password is not supported; let it know this host by its address")
        return cls(parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme])

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connection to `host` through this proxy, which looks the name up. OSError when there is none."""
        sock = socket.create_connection((self.host, self.port), timeout=timeout_s)
        try:
            (_connect if self.scheme == "http" else _socks)(sock, host, port)
        except BaseException:
            sock.close()
            raise
        return sock


def _connect(sock: socket.socket, host: str, port: int) -> None:
    where = f"{host}:{port}"
    sock.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode("latin-1"))
    answer = bytearray()
    while not answer.endswith(b"\r\n\r\n"):
        if len(answer) > _MAX_ANSWER_BYTES:
            raise ConnectionError("the proxy on the way answers without end")
        answer += _exactly(sock, 1)  # not a byte more: what follows is the server's
    status = bytes(answer.partition(b"\r\n")[0]).split(b" ")
    if len(status) < 2 or status[1] != b"200":
        raise ConnectionError(f"the proxy on the way refused: {status[1:3]!r}")


def _socks(sock: socket.socket, host: str, port: int) -> None:
    """RFC 1928, without authentication."""
    name = host.encode("idna")
    sock.sendall(b"\x05\x01\x00")
    if _exactly(sock, 2) != b"\x05\x00":
        raise ConnectionError("the proxy on the way speaks another SOCKS, or wants a password")
    sock.sendall(struct.pack("!4BB", 5, 1, 0, _SOCKS_NAME, len(name)) + name + struct.pack("!H", port))
    version, reply, _, kind = _exactly(sock, 4)
    if (version, reply) != (5, 0):
        raise ConnectionError(f"the proxy on the way refused: SOCKS reply {reply}")
    length = _exactly(sock, 1)[0] if kind == _SOCKS_NAME else _SOCKS_ADDRESS_BYTES.get(kind, 4)
    _exactly(sock, length + 2)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError("the proxy on the way closed the connection")
        data += piece
    return data
