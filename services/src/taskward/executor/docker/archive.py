"""Files from a container that has ended: the daemon packs them, a process with the run's rights takes them apart.

This process, which is root, only moves bytes between the two.
"""

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from socket import send_fds, socket
from typing import Final

from requests import Response
from urllib3.exceptions import HTTPError

from taskward.core.outbox import ErrorReason
from taskward.executor.docker import download
from taskward.executor.docker.daemon import DaemonAway
from taskward.executor.docker.engine import DockerEngine
from taskward.executor.docker.untar import LARGEST_MESSAGE, Limits, Taken, untar
from taskward.executor.errors import EngineFailed

_BLOCK_BYTES: Final = 1 << 18
_PIPE_BYTES: Final = 1 << 20
_TIMEOUT_S: Final = 600.0
_FOLDER: Final = "artifacts"


class Unusable(Exception):
    """What is there is not what was asked for; `reason` is the queue's word, the text for people."""

    def __init__(self, reason: ErrorReason, message: str) -> None:
        super().__init__(message)
        self.reason: ErrorReason = reason


class Archive:
    """What one run's container has kept."""

    def __init__(self, engine: DockerEngine, limits: Limits) -> None:
        self._engine, self._limits = engine, limits

    def take(self, path: str, kind: str) -> tuple[Path, list[Taken]]:
        """Everything at `path`, which must be a ``file`` or ``directory``: where it lies now, and what it is.

        Raises:
            NotThere: nothing is there.
            Unusable: something else is there, or too much.
            EngineFailed: the daemon or this machine could not do it.
        """
        folder = self._new_folder()
        with self._opened(path) as response:
            connection = self._engine.as_task(untar(kind, self._limits))
            with connection:
                connection.settimeout(_TIMEOUT_S)
                source, pipe = os.pipe2(os.O_CLOEXEC)
                target = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    send_fds(connection, [b"{}"], [source, target])
                finally:
                    os.close(source)
                    os.close(target)
                pump = _Pump(response, pipe)
                pump.start()
                try:
                    taken = list(_answers(connection))
                finally:
                    pump.stop(path)
        return folder, taken

    def _new_folder(self) -> Path:
        """The run's user's own; a process that died may have left others."""
        identity = self._engine.identity
        folder = identity.home / f"{_FOLDER}-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        os.chown(folder, identity.uid, identity.gid)
        return folder

    def _opened(self, path: str) -> AbstractContextManager[Response]:
        archive = f"/containers/{self._engine.container.name}/archive"
        return download.opened(self._engine.daemon, archive, {"path": path}, "pack the task's files")


class _Pump(threading.Thread):
    """From the daemon to the process that unpacks, until either has enough."""

    def __init__(self, response: Response, pipe: int) -> None:
        super().__init__(name="archive", daemon=True)
        self._response, self._pipe = response, pipe
        self.failure: Exception | None = None

    def run(self) -> None:
        """The thread's work."""
        with open(self._pipe, "wb", buffering=0) as pipe, contextlib.suppress(BrokenPipeError):
            try:
                for block in self._response.raw.stream(_BLOCK_BYTES, decode_content=False):
                    view = memoryview(block)
                    while view:
                        view = view[pipe.write(view) :]
            except (HTTPError, TimeoutError, ConnectionError) as error:
                if isinstance(error, BrokenPipeError):
                    raise
                self.failure = error

    def stop(self, path: str) -> None:
        """Waits for the end; the process that unpacks has ended, so the pipe is broken if there is still more.

        Raises:
            DaemonAway: the daemon did not send everything.
        """
        self.join(_TIMEOUT_S)
        if self.failure is not None:
            raise DaemonAway(f"the Docker daemon broke off while it sent {path}: {self.failure}")


def _answers(connection: socket) -> Iterator[Taken]:
    while True:
        try:
            data = connection.recv(LARGEST_MESSAGE)
        except OSError as error:
            raise EngineFailed(f"the process that unpacks the task's files: {error}") from error
        if not data:
            raise EngineFailed("the process that unpacks the task's files ended")
        answer = json.loads(data)
        if not answer:
            return
        if "reason" in answer:
            raise Unusable(answer["reason"], answer["message"])
        yield Taken(**answer)
