"""What a container prints goes from the daemon's socket into the run's log file, as it comes, by a thread of its own.

The thread also waits for the container's end, since the stream of a container that has closed its terminal ends early.
"""

import logging
import os
import threading
import time
from typing import Final

from requests.exceptions import ReadTimeout

from taskward.executor.docker.daemon import Daemon, DaemonAway
from taskward.executor.engine import Cpu, Ended
from taskward.executor.errors import EngineFailed

_CHUNK_BYTES: Final = 1 << 18
_DAEMON_AWAY_S: Final = 30.0
_PAUSE_S: Final = 1.0

_logger = logging.getLogger(__name__)


class Output(threading.Thread):
    """From `stream` (a blocking descriptor, closed here) to `log_fd`, until container `name` has ended.

    `fileno` is readable from then on, and `exit_code` set, or `failure`.
    """

    def __init__(self, daemon: Daemon, name: str, stream: int, log_fd: int) -> None:
        super().__init__(name="container-output", daemon=True)
        self._docker, self._container, self._stream = daemon, name, stream
        self._log = os.dup(log_fd)
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        self.exit_code: int | None = None
        self.failure: EngineFailed | None = None

    def fileno(self) -> int:
        """Readable once the container has ended and everything that it printed is in the log."""
        return self._read

    def run(self) -> None:
        """The thread's work."""
        try:
            self._copy()
            self.exit_code = self._wait()
        except EngineFailed as error:
            self.failure = error
        except Exception as error:  # noqa: BLE001 - nobody else would ever hear of it
            self.failure = EngineFailed(f"the container's output cannot be copied: {error!r}")
        finally:
            os.close(self._stream)
            os.close(self._log)
            os.close(self._write)

    def finish(self, within_s: float) -> bool:
        """Waits until everything is in the log; False when that takes longer. Twice is harmless."""
        self.join(within_s)
        return not self.is_alive()

    def _copy(self) -> None:
        """A full disk costs lines of the log, and does not stop the container."""
        lost = 0
        while data := self._receive():
            try:
                while data:
                    data = data[os.write(self._log, data) :]
            except OSError as error:
                if not lost:
                    _logger.warning("the task's log cannot be written", extra={"reason": str(error)})
                lost += len(data)

    def _receive(self) -> bytes:
        try:
            return os.read(self._stream, _CHUNK_BYTES)
        except OSError as error:
            _logger.warning("the container's output broke off", extra={"reason": str(error)})
            return b""

    def _wait(self) -> int:
        """The exit code; a daemon that is away for a moment is waited for.

        Raises:
            EngineFailed: it does not come back, or does not know the container any more.
        """
        give_up = time.monotonic() + _DAEMON_AWAY_S
        while True:
            try:
                with self._docker.asking("wait for the container"):
                    return int(self._docker.api.wait(self._container)["StatusCode"])
            except DaemonAway as error:
                if isinstance(error.__cause__, ReadTimeout):  # it still runs
                    give_up = time.monotonic() + _DAEMON_AWAY_S
                elif time.monotonic() > give_up:
                    raise
                else:
                    time.sleep(_PAUSE_S)


class ContainerProcess:
    """See `engine.Process`; `was_killed` tells whether we ended it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._ended: Ended | None = None
        self.was_killed = False

    def fileno(self) -> int:
        """Readable once the container has ended."""
        return self._output.fileno()

    def ended(self) -> Ended | None:
        """How; None while it runs.

        Raises:
            EngineFailed: nobody knows how it ended.
        """
        if self._output.failure is not None:
            raise self._output.failure
        code = self._output.exit_code
        if self._ended is None and code is not None:
            self._ended = Ended(-1, 9, Cpu(0, 0)) if self.was_killed else Ended(code, 0, Cpu(0, 0))
        return self._ended

    def ended_by_itself(self) -> int | None:
        """The exit code of a container that has ended; None while it runs, or where nobody knows."""
        return self._output.exit_code

    def cpu(self) -> Cpu:
        """Not known for a container alone; see the engine's `usage`."""
        return Cpu(0, 0)
