"""The job process's side: the socket, and the process that serves it."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Self

from taskward.executor.companion import companion, see_off
from taskward.executor.errors import EngineFailed
from taskward.executor.listener import listener
from taskward.executor.shell.host import Attend, Host
from taskward.executor.shell.session import Starter
from taskward.executor.spawn import Child


class ShellServer:
    """Started by `start`, ended by `stop`; it also ends when the calling process does."""

    def __init__(self, process: Child, stop: int) -> None:
        self._process, self._stop = process, stop

    @classmethod
    def start(cls, path: Path, starter: Starter, attend: Attend) -> Self:
        """Serves shells at the socket `path`, for the group of its directory; `attend` is the host's.

        Raises:
            EngineFailed: the socket or the process cannot be made.
        """
        try:
            with contextlib.ExitStack() as cleanup:
                group = path.parent.stat().st_gid
                owner = group if os.geteuid() == 0 else None
                shells = cleanup.enter_context(listener(path, socket.SOCK_SEQPACKET, 0o660, owner))
                stopped, stop = os.pipe2(os.O_CLOEXEC)
                cleanup.callback(os.close, stopped)
                return cls(companion(Host(shells, stopped, group, starter, attend).run, stop), stop)
        except OSError as error:
            raise EngineFailed(f"interactive shells cannot be offered: {error}") from error

    def stop(self) -> None:
        """No shell is started any more, and none that was started goes on."""
        with contextlib.suppress(BrokenPipeError):  # it has died already
            os.write(self._stop, b".")
        os.close(self._stop)
        see_off(self._process)
