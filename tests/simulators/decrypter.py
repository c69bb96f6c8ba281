"""A decrypter: answers at the worker's socket what a test tells it to, in the real one's frames."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskward.signer import wire
from taskward.signer.decrypter import protocol

Answer = tuple[bytes, bytes] | None
"""Verdict and content; None closes without an answer."""


def opens(**values: str) -> Answer:
    """These variables."""
    return protocol.VALUES, json.dumps(values).encode()


class SimulatedDecrypter:
    """Listens while the context lasts; `asked` are the requests, `answer` is called for each."""

    def __init__(self, path: Path, answer: Callable[[], Answer]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._path, self._answer = path, answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
                 /) -> None:  # fmt: skip
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self._path.unlink()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError, wire.BrokenFrameError):
                self.asked.append(json.loads(wire.receive_frame(connection, protocol.MAX_REQUEST_BYTES)))
                if answer := self._answer():
                    wire.send_frames(connection, *answer)
