"""The gateway's connection to the executor, which starts the shell; see `core.shell`."""

import errno
import os
import socket
from pathlib import Path
from typing import Final

from taskward.core.shell import (
    LARGEST_MESSAGE,
    PROCESS_DIED,
    Attach,
    End,
    Ended,
    Exited,
    MalformedMessage,
    Open,
    Opened,
    Refused,
    Show,
    decode,
    encode,
    short_address,
)
from taskward.gateway.errors import SessionOver, ShellUnavailable, TaskOver, TooManySessions

_TIMEOUT_S: Final = 15.0
_MOST_DESCRIPTORS: Final = 3


class Host:
    """The executor's end of one shell, which has been started."""

    def __init__(self, connection: socket.socket, session: str, descriptors: list[int]) -> None:
        self._connection = connection
        self.session, self.descriptors = session, descriptors

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._connection.fileno()

    def news(self) -> Exited | Ended | None:
        """How the shell has ended; None when nothing was said.

        A connection that is closed without a word means that the process behind it was killed.
        """
        try:
            message = decode(self._connection.recv(LARGEST_MESSAGE))
        except BlockingIOError:
            return None
        except (OSError, MalformedMessage):
            return Ended(PROCESS_DIED)
        return message if isinstance(message, Exited | Ended) else None

    def end(self) -> None:
        """The shell is not wanted any more."""
        try:
            self._connection.send(encode(End()))
        except OSError:  # it has ended already
            return

    def close(self) -> None:
        """Without `end` the shell goes on for a while."""
        self._connection.close()


def ask(path: Path, wish: Open | Attach | Show) -> Host:
    """A new shell or view of the task whose socket is `path`, or a shell that was opened before; blocks.

    Raises:
        TaskOver: nobody is there.
        TooManySessions: no further one is allowed.
        SessionOver: the one to attach to is gone.
        ShellUnavailable: it could not be started; the text says why.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(_TIMEOUT_S)
    try:
        with short_address(path) as address:
            connection.connect(address)
        connection.send(encode(wish))
        packet, descriptors, _, _ = socket.recv_fds(
            connection, LARGEST_MESSAGE, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        answer = decode(packet) if packet else Ended("")
    except (OSError, MalformedMessage) as error:
        connection.close()
        if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            raise TaskOver from error
        raise ShellUnavailable(f"the worker did not give a shell: {error}") from error
    if isinstance(answer, Opened) and descriptors:
        connection.setblocking(False)
        return Host(connection, answer.session, list(descriptors))
    for fd in descriptors:
        os.close(fd)
    connection.close()
    if isinstance(answer, Refused):
        if answer.busy:
            raise TooManySessions(answer.reason)
        raise SessionOver if isinstance(wish, Attach) else ShellUnavailable(answer.reason)
    raise TaskOver
