"""The job process's side: the socket, and the process that serves it."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Final, Self

from taskward.core.shell import short_address
from taskward.executor.companion import companion, see_off
from taskward.executor.errors import EngineFailed
from taskward.executor.shell.host import Attend, Host
from taskward.executor.shell.session import Starter
from taskward.executor.spawn import Child

_BACKLOG: Final = 128


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
                listener = cleanup.enter_context(_listen(path))
                group = path.parent.stat().st_gid
                stopped, stop = os.pipe2(os.O_CLOEXEC)
                cleanup.callback(os.close, stopped)
                return cls(companion(Host(listener, stopped, group, starter, attend).run, stop), stop)
        except OSError as error:
            raise EngineFailed(f"interactive shells cannot be offered: {error}") from error

    def stop(self) -> None:
        """No shell is started any more, and none that was started goes on."""
        with contextlib.suppress(BrokenPipeError):  # it has died already
            os.write(self._stop, b".")
        os.close(self._stop)
        see_off(self._process)


def _listen(path: Path) -> socket.socket:
    """Only root and the directory's group can connect, from the first moment on."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with short_address(path) as address:
            before = os.umask(0o117)
            try:
                listener.bind(address)
            finally:
                os.umask(before)
        if os.geteuid() == 0:
            os.chown(path, 0, path.parent.stat().st_gid, follow_symlinks=False)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
