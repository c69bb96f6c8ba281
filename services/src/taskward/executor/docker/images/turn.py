"""One at a time on this host gets an image; whoever else wants the same waits, and reads how far it is.

``<directory>/<id>`` is a file that the one locks (``flock``, so that the lock ends with its process) and writes to:
JSON lines, ``{"line": …}`` for the log and ``{"failed": …}`` when there is no hope for the others either.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from taskward.executor.docker.images.errors import ImageFailed


class Turn:
    """Held until `close`; `fd` is what the progress is appended to."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.ftruncate(fd, 0)

    def say(self, text: str) -> None:
        """A line for everybody's log."""
        os.write(self.fd, json.dumps({"line": text}).encode() + b"\n")

    def fail(self, reason: str) -> None:
        """Nobody who waits needs to try."""
        os.write(self.fd, json.dumps({"failed": reason}).encode() + b"\n")

    def close(self) -> None:
        """The next one may try."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()


class Turns:
    """Of all images of one worker."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take(self, name: str, follower: "Follower") -> Turn | None:
        """The turn, or None when somebody else has it.

        Raises:
            ImageFailed: somebody had it while `follower` waited, and failed for all.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / name
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(fd), path.stat()):
                raise FileNotFoundError(path)
            if follower.waits:
                follower.read()
            return Turn(fd)
        except (BlockingIOError, FileNotFoundError):
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise

    def follower(self, name: str, say: Callable[[str], None]) -> "Follower":
        """For somebody who wants the same image."""
        return Follower(self._directory / name, say)

    def sweep(self, older_than_s: float) -> None:
        """Removes what nobody has used for long."""
        for path in self._directory.glob("*"):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(file.fileno()).st_mtime > older_than_s:
                    path.unlink()


class Follower:
    """Passes on what the one who has the turn writes; `waits` is for the one who uses it."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say, self._at = path, say, 0
        self.waits = False

    def read(self) -> None:
        """What has come since.

        Raises:
            ImageFailed: if the other waits for us in vain.
        """
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self._at:
                self._at = 0
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._at += len(line)
                self._tell(json.loads(line))

    def _tell(self, message: dict[str, str]) -> None:
        if "failed" in message:
            raise ImageFailed(message["failed"])
        self._say(message["line"])
