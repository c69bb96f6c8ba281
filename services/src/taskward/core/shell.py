"""What gateway and executor say to each other about interactive shells.

A run that wants shells has a SOCK_SEQPACKET socket (`Layout.shell_socket`). One connection is one shell; a message is
one JSON object of at most `LARGEST_MESSAGE` bytes::

    gateway                                  executor
    Open | Attach | Show             →
                                     ←       Opened, with descriptors | Refused
    End, or nothing                  →
                                     ←       Exited | Ended, then it closes

Descriptors: a terminal's own end for both directions, else the program's standard input, output and error. The gateway
reads and writes them itself; the executor copies nothing. A connection that closes without `End` leaves a shell with
`resume_s` alone for that long: who has its session may `Attach` (the gateway may have been restarted).
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_type_hints

from taskward.core.errors import TaskwardError

TASK_ENDED: Final = "the task has ended"
PROCESS_DIED: Final = "the worker's process that ran the task has died"
LARGEST_MESSAGE: Final = 16 * 1024
MOST_SESSIONS: Final = 10
LONGEST_RESUME_S: Final = 3600.0
_MOST_ARGUMENTS: Final = 256
_DISPLAY: Final = re.compile(r":[0-9]{1,5}(\.[0-9]{1,2})?")


class MalformedMessage(TaskwardError):
    """The other side does not speak this language; close the connection."""


@dataclass(frozen=True)
class Open:
    """A new shell.

    Attributes:
        argv: the program; empty for the usual shell.
        terminal: whether it gets a terminal; pipes otherwise.
        resume_s: how long it is kept for `Attach` once nobody is connected.
    """

    argv: tuple[str, ...]
    terminal: bool
    resume_s: float


@dataclass(frozen=True)
class Attach:
    """The descriptors of a terminal that was opened before."""

    session: str


@dataclass(frozen=True)
class Show:
    """An X display of the task by the RFB protocol (VNC), through pipes.

    Attributes:
        display: a name, see `is_display`; empty for the list of those that there are, one line each, as
            ``:0.0<TAB>1024x768``.
    """

    display: str


@dataclass(frozen=True)
class End:
    """The shell is not wanted any more."""


@dataclass(frozen=True)
class Opened:
    """Descriptors come with this message; `session` is for `Attach`."""

    session: str


@dataclass(frozen=True)
class Refused:
    """There is no shell: `reason` for people; `busy` when there are too many."""

    reason: str
    busy: bool = False


@dataclass(frozen=True)
class Exited:
    """The program has ended; 128 + the signal's number where a signal ended it."""

    exit_code: int


@dataclass(frozen=True)
class Ended:
    """The task is over, or the shell was taken away; `reason` for people."""

    reason: str


Message = Open | Attach | Show | End | Opened | Refused | Exited | Ended
_KINDS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind for kind in (Open, Attach, Show, End, Opened, Refused, Exited, Ended)
}


def encode(message: Message) -> bytes:
    """One packet."""
    return json.dumps({"type": type(message).__name__, **asdict(message)}).encode()


def decode(packet: bytes) -> Message:
    """The message in `packet`.

    Raises:
        MalformedMessage: it is none.
    """
    if len(packet) > LARGEST_MESSAGE:
        raise MalformedMessage("too long")
    try:
        fields = json.loads(packet)
        kind = _KINDS[fields.pop("type")]
        values = {name: _value(fields.pop(name), hint) for name, hint in get_type_hints(kind).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedMessage(f"not a message: {type(error).__name__}") from None
    if fields:
        raise MalformedMessage("unknown fields")
    message: Message = kind(**values)
    return message


def _value(value: Any, hint: Any) -> Any:
    if hint == tuple[str, ...]:
        if not isinstance(value, list) or len(value) > _MOST_ARGUMENTS or any(type(each) is not str for each in value):
            raise TypeError
        return tuple(value)
    if hint is float and type(value) in (int, float):
        return min(max(float(value), 0.0), LONGEST_RESUME_S) if value == value else 0.0
    if type(value) is not hint:
        raise TypeError
    return value


def is_display(name: str) -> bool:
    """Whether it is the name of a display of the same machine, as ``:0`` or ``:99.1``, and nothing besides."""
    return _DISPLAY.fullmatch(name) is not None


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """The address of a Unix socket whose path may be longer than the 107 bytes that the kernel takes.

    Raises:
        OSError: its directory cannot be entered.
    """
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
