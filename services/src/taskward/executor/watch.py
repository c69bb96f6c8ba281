"""Waits for a task's processes and for every reason to stop waiting: the kernel's word, and a tick; no sleeping."""

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Collection
from types import FrameType
from typing import Final, Protocol

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from taskward.core.address import RedisAddress
from taskward.core.ids import RunId
from taskward.core.outcome import Outcome, decided_by_queue, exception, failed
from taskward.core.record import Records
from taskward.executor.errors import TaskEnded
from taskward.executor.tasklog import TaskLog

TICK_S: Final = 0.5
_SHORT_TICK_S: Final = 0.05
_REDIS_TIMEOUT_S: Final = 0.4
_LONGEST_POLL_S: Final = 3600.0
WORKER_SHUTDOWN: Final = "worker-shutdown"
TIMED_OUT: Final = "task aborted - max run time exceeded"

_logger = logging.getLogger(__name__)


class File(Protocol):
    """What has a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


def readable(file: File, within_s: float | None = None) -> bool:
    """Whether `file`, of whatever number, has become readable within that time; None: wait until it is."""
    poll = select.poll()
    poll.register(file.fileno(), select.POLLIN)
    return bool(poll.poll(None if within_s is None else within_s * 1000))


class Termination:
    """SIGTERM to this process as something to wait for; `requested` stays true. One that was held back comes now."""

    def __init__(self) -> None:
        self.requested = False
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGTERM, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def fileno(self) -> int:
        """Readable once it was requested."""
        return self._read

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if not self.requested:
            self.requested = True
            os.write(self._write, b"t")


class AbortReasons:
    """Asks the run record whether the run must stop; a Redis that is away is no reason, and costs little time."""

    def __init__(self, address: RedisAddress) -> None:
        self._records = Records(
            Redis(
                unix_socket_path=str(address.socket), username=address.user,
                password=address.password_file.read_text().strip(), retry=Retry(NoBackoff(), 0),
                socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S,
            )
        )  # fmt: skip

    def ask(self, run: RunId) -> str:
        """The reason, or an empty string."""
        try:
            return self._records.abort_reason(run)
        except (RedisError, OSError) as error:
            _logger.warning("redis does not answer, the task goes on", extra={"run": run.key, "reason": str(error)})
            return ""


class Watch:
    """Waits on behalf of one run.

    Args:
        termination: SIGTERM to this process.
        abort_reason: asked on each tick.
        log: its size is looked at on each tick.
        max_log_bytes: how large it may grow; 0 is no limit.
    """

    def __init__(self, termination: Termination, abort_reason: Callable[[], str], log: TaskLog,
                 max_log_bytes: int) -> None:  # fmt: skip
        self._termination, self._abort_reason = termination, abort_reason
        self._log, self._max_log_bytes = log, max_log_bytes
        self._deadline = float("inf")
        self._seen_bytes = 0
        self._probes: list[Callable[[], Outcome | None]] = []

    def observe(self, probe: Callable[[], Outcome | None]) -> None:
        """From now on `probe` is asked on each tick, too: an outcome ends the run."""
        self._probes.append(probe)

    def limit(self, seconds: float) -> None:
        """From now on, the run may take so long."""
        self._deadline = time.monotonic() + seconds

    def check(self) -> None:
        """Looks at every reason once.

        Raises:
            TaskEnded: there is one.
        """
        if outcome := self._reason():
            raise TaskEnded(outcome)

    def wait(self, files: Collection[int]) -> set[int]:
        """Those of `files` that are readable, as soon as one is.

        Raises:
            TaskEnded: the run must stop.
        """
        poll = select.poll()
        for file in (*files, self._termination.fileno()):
            poll.register(file, select.POLLIN)
        while True:
            pause_s = min(self._tick_s(), max(0.0, self._deadline - time.monotonic()))
            ready = {file for file, _ in poll.poll(pause_s * 1000)} & set(files)
            if ready:
                return ready
            self.check()

    def linger(self, files: Collection[int], seconds: float) -> None:
        """Waits for `seconds`, or until one of `files` is readable, or until this process shall end; for nothing else:
        the run is over."""
        poll = select.poll()
        for file in (*files, self._termination.fileno()):
            poll.register(file, select.POLLIN)
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0 and not poll.poll(min(left_s, _LONGEST_POLL_S) * 1000):
            continue

    def _tick_s(self) -> float:
        """Shorter when the log could reach its limit within a tick at its pace."""
        if not self._max_log_bytes:
            return TICK_S
        grown, self._seen_bytes = self._log.size_bytes - self._seen_bytes, self._log.size_bytes
        return _SHORT_TICK_S if self._seen_bytes + 2 * grown > self._max_log_bytes else TICK_S

    def _reason(self) -> Outcome | None:
        if self._termination.requested:
            return aborted(WORKER_SHUTDOWN)
        if time.monotonic() >= self._deadline:
            return failed(TIMED_OUT)
        if self._max_log_bytes and self._log.size_bytes > self._max_log_bytes:
            return log_too_large(self._max_log_bytes)
        for probe in self._probes:
            if outcome := probe():
                return outcome
        reason = self._abort_reason()
        return aborted(reason) if reason else None


def log_too_large(most_bytes: int) -> Outcome:
    """The outcome of a run that has written more than it may."""
    return failed(f"task aborted - its log is larger than {most_bytes} bytes, the most that is allowed")


def aborted(reason: str) -> Outcome:
    """The outcome of a run whose record says why it must stop."""
    if reason == WORKER_SHUTDOWN:
        return exception(
            WORKER_SHUTDOWN, "task aborted - the worker is shutting down; the queue will run the task again"
        )
    return decided_by_queue(reason)
