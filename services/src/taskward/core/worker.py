"""RQ workers that survive kills: proof of life by a file lock, one queue each.

A worker's name is new in each life, so a restarted worker never vouches for its dead predecessor. Its proof of life is
described in `locks.py`.
"""

import logging
from pathlib import Path
from typing import Any

from rq.worker import BaseWorker, SimpleWorker

from taskward.core import locks
from taskward.core.clock import utc_now
from taskward.core.process import this_life
from taskward.core.safejob import Registry, SafeJob, SafeQueue, StrictJSON


class SafeWorker(BaseWorker):
    """What both kinds share; see the module's text."""

    def __init__(self, role: str, registry: Registry, connection: Any, lock_dir: Path) -> None:
        SafeJob.registry = registry
        self._lock_dir = lock_dir
        super().__init__(
            [registry.queue], name=f"{role}-{this_life()}", connection=connection, serializer=StrictJSON,
            job_class=SafeJob, queue_class=SafeQueue, worker_ttl=20, job_monitoring_interval=5,
            log_job_description=False,
        )  # fmt: skip
        self.log_result_lifespan = False
        self._locks: list[int] = []

    def proofs(self) -> tuple[str, ...]:
        """The names of the locks that it holds while it lives: as many as jobs that it can do at once."""
        return (self.name,)

    def _install_signal_handlers(self) -> None:
        """Ready to be stopped, hence ready to be counted."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        self._locks = [locks.hold(self._lock_dir, name) for name in self.proofs()]

    def bootstrap(self, *_args: Any, **_options: Any) -> None:
        """RQ's own log handlers stay out: the process has its own."""
        for name in ("rq.worker", "rq.job"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.birth_date = utc_now()
        self.set_state("started")

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Remembers it here. Redis knows nothing of workers: the lock tells who lives."""
        self._state = state

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Nothing, for the same reason."""

    def increment_successful_job_count(self, pipeline: Any = None) -> None:
        """Nothing: `metrics` counts."""

    def increment_failed_job_count(self, pipeline: Any = None) -> None:
        """Nothing: `metrics` counts."""

    def increment_total_working_time(self, job_execution_time: Any, pipeline: Any) -> None:
        """Nothing: `metrics` counts."""

    def register_death(self) -> None:
        """Nothing: a worker must be able to end while Redis is away."""

    def set_shutdown_requested_date(self) -> None:
        """Nothing, for the same reason."""

    def run_maintenance_tasks(self) -> None:
        """Nothing: RQ's own maintenance is the reaper's here: within milliseconds, and by proof instead of by time."""

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
        """Says in the lock files that no new work is wanted."""
        for lock in self._locks:
            locks.say_stopping(lock)

    def teardown(self) -> None:
        """Takes the lock files away."""
        for name in self.proofs():
            (self._lock_dir / name).unlink(missing_ok=True)


class InProcessWorker(SafeWorker, SimpleWorker):
    """Jobs run in this process, one after the other: for short steps that need no isolation from each other."""
