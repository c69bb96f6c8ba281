#!/usr/bin/env python3
"""The health checks of docker-compose.yml, as the container's own user: ends with 0 when the role does its work.

health answers PORT|SOCKET PATH          a web server says 200
health answers HOST:PORT PATH DIRECTORY  so does one that wants a certificate; it is shown the role's own
health listens SOCKET                    somebody listens there; asks the kernel, so that nobody is called
health reaches SOCKET                    Redis takes connections: for those who have no door of their own
health works DIRECTORY                   a worker of this container holds its proof of life (taskward/core/locks.py)
"""

import fcntl
import http.client
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_TIMEOUT_S = 4.0
_LISTENING = 0x10000  # the flag __SO_ACCEPTCON in /proc/net/unix


def answers(address: str, path: str, certificates: str = "") -> bool:
    """Whether the web server at a port of this container, at a socket, or at a host's port says 200 to `path`."""
    connection = _secret(address, Path(certificates)) if certificates else _plain(address)
    connection.request("GET", path)
    return connection.getresponse().status == http.HTTPStatus.OK


def listens(address: str) -> bool:
    """Whether the kernel knows of a listener at the socket."""
    rows = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return any(row[-1].rpartition("/")[2] in _names(address) and int(row[3], 16) & _LISTENING for row in rows)


def reaches(address: str) -> bool:
    """Whether Redis answers, be it that a password is needed."""
    with _connected(address) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))


def works(directory: str) -> bool:
    """Whether a worker with this container's pid namespace in its name holds its lock."""
    namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    own = [path for path in Path(directory).iterdir() if namespace in path.name.split("-")]
    return any(_is_locked(path) for path in own)


def _names(address: str) -> tuple[str, str]:
    """Redis makes its socket under a hidden name first, which the kernel goes on to tell."""
    name = Path(address).name
    return name, f".{name}"


def _plain(address: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", int(address) if address.isdigit() else 80, timeout=_TIMEOUT_S)
    if not address.isdigit():
        connection.sock = _connected(address)
    return connection


def _secret(address: str, home: Path) -> http.client.HTTPConnection:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(home / "authority.crt")
    context.load_cert_chain(home / "own.crt", home / "own.key")
    return http.client.HTTPSConnection(address, timeout=_TIMEOUT_S, context=context)


def _connected(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_TIMEOUT_S)
    connection.connect(address)
    return connection


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


CHECKS: Mapping[str, Callable[..., bool]] = {
    "answers": answers,
    "listens": listens,
    "reaches": reaches,
    "works": works,
}

if __name__ == "__main__":
    kind, *words = sys.argv[1:]
    sys.exit(not CHECKS[kind](*words))
