"""RQ workers that survive kills: proof of life by a file lock, children that die with them, one queue each.

A worker's name is new in each life, so a restarted worker never vouches for its dead predecessor. Its proof of life is
described in `locks.py`.
"""

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from rq.worker import BaseWorker, SimpleWorker, Worker

from taskward.core import locks
from taskward.core.clock import utc_now
from taskward.core.process import die_with_parent, this_life
from taskward.core.safejob import Registry, SafeJob, SafeQueue, StrictJSON


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
        self._lock = locks.hold(self._lock_dir, self.name)

    def bootstrap(self, *_args: Any, **_options: Any) -> None:
        """RQ's own log handlers stay out: the process has its own."""
        for name in ("rq.worker", "rq.job"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.birth_date = utc_now()
        self.set_state("started")

    def register_death(self) -> None:
        """Nothing: the lock tells who lives, and a worker must be able to end while Redis is away."""

    def set_shutdown_requested_date(self) -> None:
        """Nothing, for the same reason."""

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
        locks.say_stopping(self._lock)

    def teardown(self) -> None:
        """Takes the lock file away."""
        if not self.is_horse:
            (self._lock_dir / self.name).unlink(missing_ok=True)


class ForkingWorker(_Safe, Worker):
    """A process per job; it dies with its worker. SIGTERM is passed on to it, so that it ends its run in order."""

    def main_work_horse(self, job: Any, queue: Any) -> NoReturn:
        """The job process."""
        die_with_parent(self.pid or 0)
        super().main_work_horse(job, queue)
        os._exit(0)

    def setup_work_horse_signals(self) -> None:
        """SIGTERM is for the job's own handler, and waits until there is one (which unblocks it)."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def handle_warm_shutdown_request(self) -> None:
        """Tells the job process that its time is limited."""
        super().handle_warm_shutdown_request()
        if self.horse_pid:
            os.kill(self.horse_pid, signal.SIGTERM)


class InProcessWorker(_Safe, SimpleWorker):
    """Jobs run in this process, one after the other: for short steps that need no isolation from each other."""
