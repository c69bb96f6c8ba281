"""The two processes behind a task's Docker socket. Both end with the job process, and before the task's containers."""

import contextlib
import os
import socket
from typing import Final, Self

from taskward.executor.companion import companion, see_off
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.dind.config import Confinement
from taskward.executor.docker.dind.context import Context
from taskward.executor.docker.dind.holdings import Holdings
from taskward.executor.docker.dind.porter import Away, porter
from taskward.executor.docker.dind.server import Server
from taskward.executor.docker.dind.wire import API, Wire
from taskward.executor.errors import EngineFailed
from taskward.executor.listener import listener
from taskward.executor.spawn import Child
from taskward.executor.task import Task

SOCKET: Final = "dind.sock"
_UNIX: Final = "unix://"


class DockerSocket:
    """Started by `start`, ended by `stop`; both processes end with the calling one, too."""

    def __init__(self, processes: list[Child], stop: int) -> None:
        self._processes, self._stop = processes, stop

    @classmethod
    def start(cls, task: Task, daemon: Daemon, main: str, pins: tuple[str, str], confinement: Confinement) -> Self:
        """Serves `SOCKET` in the run's directory, which nobody but the run's own can enter.

        Raises:
            EngineFailed: the socket or the processes cannot be made.
        """
        host, docker = daemon.settings.host, task.settings.docker
        if not host.startswith(_UNIX):
            raise EngineFailed(f"features.dind needs the Docker daemon's Unix socket ([docker] host is {host})")
        path, version = task.engine.identity.home / SOCKET, spoken(daemon)
        try:
            with contextlib.ExitStack() as cleanup:
                requests = cleanup.enter_context(listener(path, socket.SOCK_STREAM, 0o666))
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                cleanup.callback(ours.close)
                cleanup.callback(theirs.close)
                stopped, stop = os.pipe2(os.O_CLOEXEC)
                cleanup.callback(os.close, stopped)
                serve = porter(task, path, version)
                context = Context(
                    Wire(host, version, docker.timeout_s), Holdings(docker.dind_max_containers, docker.dind_max_bytes),
                    confinement, Away(ours), main, pins, tuple(map(str, docker.dind_registries)), path.parent,
                )  # fmt: skip
                server = Server(requests, stopped, context)
                carrying = companion(lambda: serve(theirs), ours.fileno(), stop)
                serving = companion(server.run, theirs.fileno(), stop)
                return cls([serving, carrying], stop)
        except OSError as error:
            raise EngineFailed(f"the task's Docker socket cannot be offered: {error}") from error

    def stop(self) -> None:
        """No container is made through it any more."""
        os.close(self._stop)
        for process in self._processes:
            see_off(process)


def spoken(daemon: Daemon) -> str:
    """The version of the API that the daemon is spoken to in, and that tasks may speak.

    Raises:
        EngineFailed: the daemon is too old: before 19.03.1 it unpacked what it was sent where a container could see it.
    """
    with daemon.asking("tell its version"):
        told = daemon.api.version()
    oldest, newest = (_parts(told.get(name, "")) for name in ("MinAPIVersion", "ApiVersion"))
    if newest < API:
        raise EngineFailed(f"features.dind needs a Docker daemon that speaks API {_text(API)}: this is {_text(newest)}")
    return _text(max(API, oldest))


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
