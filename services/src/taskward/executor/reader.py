"""Looks at a task's files with the task's own rights: what is there, and is it the task's to give?

`serve` runs in a process of the task's user, so whatever that user may not read, the worker does not read for it. It
answers one request after the other on a SOCK_SEQPACKET socket; `Reader` is the other end.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from socket import recv_fds, send_fds, socket
from typing import Any, Final, Literal, Self

from taskward.executor.errors import EngineFailed
from taskward.executor.search import Found, Search, open_regular

_LARGEST_MESSAGE: Final = 1 << 17
_LONGEST_PATH: Final = 4096
_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True)
class Opened:
    """A file that the task's user could open, and the directory that it is in; the caller closes both."""

    file: int
    directory: int
    name: str


class Reader:
    """The worker's end; one request at a time."""

    def __init__(self, connection: socket) -> None:
        self._socket = connection
        connection.settimeout(_TIMEOUT_S)

    def find(self, kind: Literal["file", "directory"], path: str, most: int) -> Iterator[Found]:
        """What is at `path`, relative to the task directory or absolute: a file, or all files below a directory.

        Ends after `most` answers. Must be read to its end before the next request.

        Raises:
            EngineFailed: the other end is gone.
        """
        if len(os.fsencode(path)) > _LONGEST_PATH:
            text = f"the path has more than {_LONGEST_PATH} bytes"
            yield Found("", path[:_LONGEST_PATH], reason="invalid-resource-on-worker", message=text)
            return
        self._ask({"find": kind, "path": path, "most": most})
        while answer := self._answer()[0]:
            yield Found(**answer)

    def open(self, path: str) -> Opened:
        """Opens a file that was found.

        Raises:
            OSError: the task's user cannot (any more).
            EngineFailed: the other end is gone.
        """
        self._ask({"open": path})
        answer, descriptors = self._answer()
        if not descriptors:
            raise OSError(answer["errno"], answer["text"], path)
        return Opened(descriptors[0], descriptors[1], Path(path).name)

    def close(self) -> None:
        """Ends the process at the other end."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> None:
        try:
            self._socket.send(json.dumps(request).encode())
        except OSError as error:
            raise EngineFailed(f"the process that reads the task's files: {error}") from error

    def _answer(self) -> tuple[dict[str, Any], list[int]]:
        try:
            data, descriptors, _, _ = recv_fds(self._socket, _LARGEST_MESSAGE, 2)
        except OSError as error:
            raise EngineFailed(f"the process that reads the task's files: {error}") from error
        if not data:
            raise EngineFailed("the process that reads the task's files ended")
        return json.loads(data), descriptors


def serve(home: Path, state_dir: Path, absolute_allowed: bool) -> Callable[[socket], None]:
    """What to call as the task's user: answers until the other end closes.

    Args:
        home: the task directory.
        state_dir: where no path may lead, except into `home`.
        absolute_allowed: whether artifacts may lie outside of `home`.
    """

    def answer(connection: socket) -> None:
        search = Search(home, state_dir, absolute_allowed)
        while data := connection.recv(_LARGEST_MESSAGE):
            request = json.loads(data)
            if "open" in request:
                _send_opened(connection, request["open"])
                continue
            for found in search.find(request["find"], request["path"], request["most"]):
                connection.send(json.dumps(asdict(found)).encode())
            connection.send(b"{}")

    return answer


def _send_opened(connection: socket, path: str) -> None:
    directory, file = -1, -1
    try:
        directory = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        file = open_regular(Path(path).name, directory)
        send_fds(connection, [b"{}"], [file, directory])
    except OSError as error:
        connection.send(json.dumps({"errno": error.errno, "text": error.strerror}).encode())
    finally:
        for descriptor in (file, directory):
            if descriptor >= 0:
                os.close(descriptor)
