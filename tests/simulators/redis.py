"""A real Redis for tests: taskward's own configuration, every role of the ACL, the functions loaded."""

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from simulators.patience import until
from taskward.core.acl import ROLES, write_acl
from taskward.core.address import RedisAddress
from taskward.core.connection import connect, load_functions
from taskward.core.linked import Linked
from taskward.core.redis_server import configuration, find_server

_READY_WITHIN_S: Final = 10.0


class RedisServer:
    """A server on a Unix socket of its own; ``with RedisServer() as server:`` starts it and leaves nothing behind.

    Attributes:
        socket: where it listens.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="tw"))
        self.socket = self._directory / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Redis] = []
        self._linked: list[Linked] = []
        passwords = {role: self._password_file(role) for role in (*ROLES, "admin")}
        write_acl(self._directory / "users.acl", passwords)
        text = configuration(self._directory, self.socket, self._directory / "users.acl")
        (self._directory / "redis.conf").write_text(text)

    def address(self, role: str) -> RedisAddress:
        """How `role` (or ``admin``) reaches it."""
        return RedisAddress(self.socket, role, self._password_file(role))

    def client(self, role: str = "admin") -> Redis:
        """A connected client with the rights of `role`; closed with the server."""
        self._clients.append(connect(self.address(role)))
        return self._clients[-1]

    def linked(self, role: str) -> Linked:
        """The same without redis-py."""
        self._linked.append(Linked(self.address(role)))
        return self._linked[-1]

    def start(self) -> None:
        """Starts it on the data of its last life; returns when it answers and has the functions."""
        program = [str(find_server()), str(self._directory / "redis.conf")]
        self._process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait_until_ready()
        with connect(self.address("admin")) as admin:
            load_functions(admin)

    def stop(self) -> None:
        """An orderly end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """A crash; what it acknowledged is on disk."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """A crash and a new start."""
        self.kill()
        self.start()

    def flush(self) -> None:
        """Empties the data, keeps the functions; for fixtures that share one server."""
        with connect(self.address("admin")) as admin:
            admin.flushall()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()
        for linked in self._linked:
            linked.close()
        self.kill()
        shutil.rmtree(self._directory)

    def _password_file(self, role: str) -> Path:
        return self._directory / f"{role}.password"

    def _wait_until_ready(self) -> None:
        until(lambda: self.socket.exists() and self._answers(), "redis-server answers", _READY_WITHIN_S, pause_s=0.005)

    def _answers(self) -> bool:
        address = self.address("admin")
        client = Redis(
            unix_socket_path=str(self.socket), username="admin", password=address.password_file.read_text().strip()
        )
        try:
            return bool(client.ping())
        except (RedisConnectionError, FileNotFoundError):
            return False
        finally:
            client.close()

    def _end(self, sig: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(sig)
            self._process.wait(_READY_WITHIN_S)
            self._process = None
