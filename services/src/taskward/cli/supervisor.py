"""Talks to supervisord over its Unix socket."""

import http.client
import socket
import time
import xmlrpc.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from taskward.cli.errors import Forbidden

_TIMEOUT_S: Final = 10.0
_ENDING: Final = "SHUTDOWN_STATE"
"""supervisord's word when it was told to end, and does."""


class SupervisorAway(Exception):
    """Nobody answers at the socket: the worker is not running (or just starting, or just gone)."""


class SupervisorRefused(Exception):
    """supervisord would not do it; the text is its own."""


@dataclass(frozen=True)
class Process:
    """One process as supervisord sees it; `pid` is 0 and `uptime_s` 0 when it does not run."""

    name: str
    group: str
    state: str
    pid: int
    uptime_s: int

    @property
    def full_name(self) -> str:
        """What supervisord calls it."""
        return f"{self.group}:{self.name}"


class Supervisor:
    """Each method is one call; safe to use from several processes.

    Raises:
        Forbidden: the worker, running or not, is another user's.
    """

    def __init__(self, path: Path) -> None:
        self.socket = path

    def processes(self) -> tuple[Process, ...]:
        """All processes in order of their start.

        Raises:
            SupervisorAway: the worker is not running, or about to end.
        """
        now = int(time.time())
        try:
            infos = self._call(lambda rpc: rpc.supervisor.getAllProcessInfo())
        except SupervisorRefused as error:
            if _ENDING in str(error):
                raise SupervisorAway(f"{self.socket}: it ends") from error
            raise
        return tuple(_process(info, now) for info in infos)

    def shutdown(self) -> None:
        """Ends everything in order, without waiting. Harmless when it is under way already.

        Raises:
            SupervisorAway: the worker is not running.
        """
        try:
            self._call(lambda rpc: rpc.supervisor.shutdown())
        except SupervisorRefused as error:
            if _ENDING not in str(error):
                raise

    def answers(self) -> bool:
        """Whether a supervisor listens."""
        try:
            self._call(lambda rpc: rpc.supervisor.getPID())
        except SupervisorAway:
            return False
        except SupervisorRefused:
            return True
        return True

    def _call(self, call: Callable[[xmlrpc.client.ServerProxy], Any]) -> Any:
        try:
            with xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(self.socket)) as rpc:
                return call(rpc)
        except PermissionError as error:
            raise Forbidden(f"{self.socket}: {error.strerror}; ask as the user who started the worker") from error
        except xmlrpc.client.Fault as error:
            raise SupervisorRefused(error.faultString) from error
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise SupervisorAway(f"{self.socket}: {error}") from error


def _process(info: Mapping[str, Any], now: int) -> Process:
    uptime_s = max(0, now - info["start"]) if info["pid"] else 0
    return Process(info["name"], info["group"], info["statename"], info["pid"], uptime_s)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._connection: tuple[Any, http.client.HTTPConnection | None]  # what the base class's `close` closes

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = (host, connection)
        return connection
