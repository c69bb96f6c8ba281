"""The sockets that the proxy listens on; made here and handed to gunicorn as open descriptors."""

import errno
import socket
import time
from pathlib import Path

from taskward.proxy.errors import StartError

_BACKLOG = 1024


def task_listener(port: int, interface: str, patience_s: float = 2.0) -> socket.socket:
    """The port that tasks call, on every address at once: each native task has its own, so has each network.

    Bound to `interface` (SO_BINDTODEVICE; ``lo``: nothing outside of this host can connect, whatever the
    routing). StartError where that is impossible; an empty `interface` goes without, as it must for containers. A port
    in use is tried for `patience_s`: what is left of a killed predecessor may hold it for a moment.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if interface:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        _bind(listener, port, time.monotonic() + patience_s)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on port {port} of device {interface!r}: {error}. {_remedy(error)}") from error
    return listener


def _bind(listener: socket.socket, port: int, until_s: float) -> None:
    while True:
        try:
            listener.bind(("0.0.0.0", port))  # noqa: S104 - the device, or `caller`, keeps others out
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until_s:
                raise
            time.sleep(0.02)


def status_listener(path: Path) -> socket.socket:
    """The Unix socket for /healthz and /metrics (mode 0660), out of the reach of tasks.

    StartError when it cannot be made there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"[proxy] status_socket: cannot listen on {path}: {error}") from error
    return listener


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            "Binding to a device needs Linux 5.7 or the capability NET_RAW, a port below 1024 NET_BIND_SERVICE; "
            'with a firewall in front, [proxy] interface = "" goes without the device.'
        )
    return "Choose another [proxy] port, or stop what uses it."
