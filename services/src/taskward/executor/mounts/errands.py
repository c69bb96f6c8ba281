"""Requests to a process with other rights than ours: JSON and descriptors over a SOCK_SEQPACKET socket, one at a time.

`serve` makes the function for that process; `Errands` is our end. What goes wrong there is told as text, never raised
here as it was there.
"""

import json
import os
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from socket import recv_fds, send_fds, socket
from types import FrameType
from typing import Any, Final, Self

from taskward.executor.errors import EngineFailed
from taskward.executor.mounts.errors import MountFailed

_LARGEST_MESSAGE: Final = 1 << 17
_MOST_DESCRIPTORS: Final = 2
_SEND_TIMEOUT_S: Final = 30.0
_FIRST_OWN_DESCRIPTOR: Final = 3

Answer = tuple[dict[str, Any], Sequence[int]]
Handler = Callable[[Mapping[str, Any], Sequence[int]], Answer]
Wait = Callable[[Collection[int]], set[int]]


class Refused(Exception):
    """Raised by a handler: the request cannot be fulfilled; the text is for the task's log."""


class Errands:
    """Our end.

    Args:
        connection: from `Engine.as_task` or `spawn.call`.
        wait: as `Task.wait`; raises TaskEnded when the run must stop.
    """

    def __init__(self, connection: socket, wait: Wait) -> None:
        self._socket, self._wait = connection, wait
        connection.settimeout(_SEND_TIMEOUT_S)

    def ask(self, verb: str, *descriptors: int, **arguments: Any) -> tuple[dict[str, Any], list[int]]:
        """The answer, and descriptors that the caller closes.

        Raises:
            MountFailed: the other process says why not.
            EngineFailed: it is gone.
            TaskEnded: the run must stop.
        """
        self.send(verb, *descriptors, **arguments)
        return self.receive(verb)

    def send(self, verb: str, *descriptors: int, **arguments: Any) -> None:
        """The first half of `ask`; the same errors."""
        try:
            send_fds(self._socket, [json.dumps({"verb": verb, **arguments}).encode()], descriptors)
        except OSError as error:
            raise EngineFailed(f"the process that mounts for the task: {verb}: {error}") from error

    def receive(self, verb: str) -> tuple[dict[str, Any], list[int]]:
        """The second half of `ask`; the same errors."""
        try:
            self._wait({self._socket.fileno()})
            data, received, _, _ = recv_fds(self._socket, _LARGEST_MESSAGE, _MOST_DESCRIPTORS)
        except OSError as error:
            raise EngineFailed(f"the process that mounts for the task: {verb}: {error}") from error
        if not data:
            raise EngineFailed(f"the process that mounts for the task ended during '{verb}'")
        answer: dict[str, Any] = json.loads(data)
        if "refused" in answer:
            raise MountFailed(str(answer["refused"]))
        return answer, received

    def close(self) -> None:
        """Ends the process as soon as it looks for another request."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()


def serve(handlers: Mapping[str, Handler], longest_s: float) -> Callable[[socket], None]:
    """Answers requests until the other end closes; one that takes `longest_s` is refused, whatever it waits for.

    A handler may set a shorter alarm.
    """

    def answer(connection: socket) -> None:
        while os.open(os.devnull, os.O_RDWR) < _FIRST_OWN_DESCRIPTOR:
            pass  # nothing is open below our socket: what we open must not become standard input or output
        signal.signal(signal.SIGALRM, _too_late)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGPIPE else signal.SIG_IGN)
        while True:
            data, received, _, _ = recv_fds(connection, _LARGEST_MESSAGE, _MOST_DESCRIPTORS)
            if not data:
                return
            signal.setitimer(signal.ITIMER_REAL, longest_s)
            _answer(connection, handlers, json.loads(data), received)
            signal.setitimer(signal.ITIMER_REAL, 0)

    return answer


def _too_late(_number: int, _frame: FrameType | None) -> None:
    """Interrupts whatever a handler is doing: a server may keep one busy without ever stalling it."""
    raise Refused("it takes too long")


def _answer(
    connection: socket, handlers: Mapping[str, Handler], request: dict[str, Any], received: Sequence[int]
) -> None:
    sent: Sequence[int] = ()
    try:
        reply, sent = handlers[request.pop("verb")](request, received)
    except Refused as error:
        reply = {"refused": str(error)}
    except OSError as error:
        reply = {"refused": error.strerror or str(error)}
    finally:
        for descriptor in received:  # closed before the answer: then the other end may rely on it
            os.close(descriptor)
    try:
        send_fds(connection, [json.dumps(reply).encode()], sent)
    finally:
        for descriptor in sent:
            os.close(descriptor)
