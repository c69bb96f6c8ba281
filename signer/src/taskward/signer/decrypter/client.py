"""How the executor asks the decrypter; the only module that others import from this package."""

import json
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from taskward.signer import wire
from taskward.signer.decrypter import protocol

_TIMEOUT_S: Final = 180.0
_TICK_S: Final = 0.5


class DecrypterUnavailable(Exception):
    """No answer this time: the decrypter or the queue is away. Ask again after a pause."""


class DecrypterRefused(Exception):
    """These messages are not opened for this worker, now or later: the queue does not say that it holds the run."""


class SecretDataViolation(Exception):
    """The task's own messages are at fault; the text is for its log, and holds nothing secret."""


class Decrypter:
    """The decrypter behind its Unix socket; one connection a call."""

    def __init__(self, path: Path, timeout_s: float = _TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def values(self, task_id: str, run_id: int, tick: Callable[[], None] = lambda: None) -> dict[str, str]:
        """Name and value of every encrypted variable of a run that this worker holds; repeating it is harmless.

        `tick` is called twice a second while there is no answer; what it raises ends the call.

        Raises `DecrypterUnavailable`, `DecrypterRefused` or `SecretDataViolation`.
        """
        try:
            verdict, content = self._ask(protocol.Request(task_id, run_id), tick)
        except (OSError, wire.BrokenFrameError) as error:
            raise DecrypterUnavailable(f"the decrypter at {self._path} does not answer: {error}") from error
        if verdict == protocol.VALUES:
            return dict(json.loads(content))
        text = content.decode("utf-8", "replace")
        if verdict == protocol.VIOLATION:
            raise SecretDataViolation(text)
        if verdict == protocol.REFUSED:
            raise DecrypterRefused(text)
        raise DecrypterUnavailable(text)

    def _ask(self, request: protocol.Request, tick: Callable[[], None]) -> tuple[bytes, bytes]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout_s)
            connection.connect(str(self._path))
            wire.send_frames(connection, request.frame())
            self._await(connection, tick)
            verdict = wire.receive_frame(connection, wire.MAX_WORD_BYTES)
            return verdict, wire.receive_frame(connection, protocol.MAX_ANSWER_BYTES)

    def _await(self, connection: socket.socket, tick: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not select.select([connection], [], [], _TICK_S)[0]:
            tick()
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {self._timeout_s:g} s")
