"""Processes that work for one run, and end at once when nobody waits for them any more."""

import os
import resource
import select
import threading
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Final

from taskward.executor import spawn
from taskward.executor.engine import Identity
from taskward.executor.mounts.confine import confine

_MEMORY_BYTES: Final = 4 << 30

Serving = Callable[[socket], None]


def until_abandoned(serving: Serving) -> Serving:
    """`serving`, in a process that ends, whatever it does, when the other end of its socket is closed."""

    def call(connection: socket) -> None:
        threading.Thread(target=_end_with, args=(connection.fileno(),), daemon=True).start()
        serving(connection)

    return call


def restrict() -> None:
    """From now on the calling thread, and what it starts, changes no file, reaches no network, and has little memory.

    What is open stays usable.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    confine(None)


def as_ourselves(serving: Serving) -> socket:
    """Calls `serving` in a process with our rights; the other end of its socket.

    Raises:
        EngineFailed: no process can be made.
    """
    identity = Identity("", os.geteuid(), os.getegid(), Path("/"))
    return spawn.call(spawn.Rights(identity, False, "", (), 0), until_abandoned(serving))


def _end_with(connection: int) -> None:
    poll = select.poll()
    poll.register(connection, 0)  # the end of the other side is always told
    poll.poll()
    os._exit(1)
