"""RQ workers that survive kills: proof of life by a file lock, children that die with them, one queue each.

A worker's name is new in each life, so a restarted worker never vouches for its dead predecessor. While it lives
it holds an flock on ``<lock_dir>/<name>``; a forked job process inherits it, so the kernel drops the lock only when
both are gone: liveness without clocks or heartbeats. The reaper reads those locks and gives orphaned jobs back to their
queue; the claimer counts them and claims nothing that nobody could run. A worker that has been told to stop says so
in its lock file.
"""

import ctypes
import fcntl
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rq.worker import BaseWorker, SimpleWorker, Worker

from taskward.core.process import this_life
from taskward.core.safejob import Registry, SafeJob, SafeQueue, StrictJSON

_PR_SET_PDEATHSIG: Final = 1
_STOPPING: Final = b"stopping"
_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, sig: signal.Signals = signal.SIGKILL) -> None:
    """The calling process gets `sig` when its parent `parent` ends; ends at once if that has happened already."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


class _Safe(BaseWorker):
    """What both kinds share; see the module's text."""

    def __init__(
        self,
        role: str,
        registry: Registry,
        connection: Any,
        lock_dir: Path,
        between_jobs: Callable[[], None] = lambda: None,
    ) -> None:
        SafeJob.registry = registry
        self._lock_dir, self._between_jobs = lock_dir, between_jobs
        super().__init__(
            [registry.queue], name=f"{role}-{this_life()}", connection=connection, serializer=StrictJSON,
            job_class=SafeJob, queue_class=SafeQueue, worker_ttl=20, job_monitoring_interval=5,
            log_job_description=False,
        )  # fmt: skip
        self.log_result_lifespan = False
        self._lock = -1

    def _install_signal_handlers(self) -> None:
        """Ready to be stopped, hence ready to be counted."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        self._lock = self._hold_lock()

    def _hold_lock(self) -> int:
        """Locked first, published under its name afterwards: the reaper never sees it unlocked."""
        hidden = self._lock_dir / f".{self.name}"
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o644)  # whatever the umask: reaper and claimer look at it
        os.fchmod(fd, 0o644)  # whatever the umask: claimer and reaper have to look at it
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(self._lock_dir / self.name)
        return fd

    def bootstrap(self, *_args: Any, **_options: Any) -> None:
        """RQ's own log handlers stay out: the process has its own."""
        logging.getLogger("rq").setLevel(logging.WARNING)
        self.register_birth()  # type: ignore[no-untyped-call]
        self.set_state("started")

    def run_maintenance_tasks(self) -> None:
        """What the role does between jobs (every five seconds when there are none).

        RQ's own maintenance is the reaper's here: within milliseconds, and by proof instead of by time.
        """
        self._between_jobs()

    def subscribe(self) -> None:
        """Nothing: no thread beside the fork, no commands by channel."""

    def unsubscribe(self) -> None:
        """Nothing was subscribed."""

    def check_for_suspension(self, burst: bool) -> None:
        """Nothing: `rq suspend` is not a way to stop this worker."""

    def procline(self, message: str) -> None:
        """Nothing: the process keeps its name."""

    def get_heartbeat_ttl(self, job: Any, working_time: float = 0.0) -> int:
        """Long: whether a worker lives is told by its lock, not by time."""
        return 86_400 * 7

    def handle_warm_shutdown_request(self) -> None:
        """Says in the lock file that no new work is wanted."""
        os.pwrite(self._lock, _STOPPING, 0)

    def teardown(self) -> None:
        """Says good-bye in Redis and drops the lock file."""
        super().teardown()  # type: ignore[no-untyped-call]
        if not self.is_horse:
            (self._lock_dir / self.name).unlink(missing_ok=True)


class ForkingWorker(_Safe, Worker):
    """A process per job; it dies with its worker. SIGTERM is passed on to it, so that it ends its run in order."""

    def main_work_horse(self, job: Any, queue: Any) -> None:
        """The job process."""
        die_with_parent(self.pid or 0)
        super().main_work_horse(job, queue)

    def setup_work_horse_signals(self) -> None:
        """SIGTERM is for the job's own handler; until it has one, nothing happens."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def handle_warm_shutdown_request(self) -> None:
        """Tells the job process that its time is limited."""
        super().handle_warm_shutdown_request()
        if self.horse_pid:
            os.kill(self.horse_pid, signal.SIGTERM)


class InProcessWorker(_Safe, SimpleWorker):
    """Jobs run in this process, one after the other: for short steps that need no isolation from each other."""


def sweep_locks(lock_dir: Path) -> None:
    """Removes the lock files of dead workers (names are never used twice); called when a worker starts."""
    for path in visible(lock_dir):
        if not is_locked(path):
            path.unlink(missing_ok=True)


def visible(lock_dir: Path) -> list[Path]:
    """The lock files that are published; hidden ones are about to be locked."""
    return [path for path in lock_dir.iterdir() if not path.name.startswith(".")]


def is_locked(path: Path) -> bool:
    """Whether a process (or its job process) still holds the lock file; False when it is gone or no file of ours."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def available(lock_dir: Path) -> int:
    """How many workers live and have not been told to stop."""
    return sum(is_locked(path) and path.read_bytes() != _STOPPING for path in visible(lock_dir))
