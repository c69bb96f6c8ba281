"""An RQ worker that gives each job a process of its own, several at once: what is loaded is in memory once (ADR 8).

The worker takes a job's id from its queue. The job's process fetches and registers it as a worker of its own, by a name
and a proof of life that nobody had before: should it die, the reaper gives the job back, whoever else lives.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from taskward.core import locks
from taskward.core.children import Children
from taskward.core.process import this_life
from taskward.core.safejob import Registry
from taskward.core.worker import SafeWorker

PAUSE_S: Final = 5.0
"""Between two errands."""

_logger = logging.getLogger(__name__)


class ForkingWorker(SafeWorker):
    """Up to `slots` jobs at once. SIGTERM is passed on to them, so that they end their runs in order.

    In a job's process `slot` is the number of its slot.
    """

    def __init__(
        self,
        role: str,
        registry: Registry,
        connection: Any,
        lock_dir: Path,
        slots: int = 1,
        errand: Callable[[int], object] = lambda _number: None,
        idle: Callable[[int], object] = lambda _slot: None,
    ) -> None:
        """For the main thread of a process without others.

        Args:
            role: the worker's name begins with it.
            registry: what jobs may call.
            connection: to Redis; each process makes its own out of it.
            lock_dir: for the proofs of life, one for each slot and one for each job.
            slots: how many jobs at once.
            errand: called every few seconds, in a process beside the jobs, with how many there were before.
            idle: called with the number of a slot whose job's process died.
        """
        super().__init__(role, registry, connection, lock_dir)
        self._role, self._slots, self._errand, self._idle = role, slots, errand, idle
        self._errand_due_s, self._errands = time.monotonic() + PAUSE_S, 0
        self._children = Children()
        self.slot = -1

    def proofs(self) -> tuple[str, ...]:
        """One for each slot: they are counted."""
        return tuple(f"{self._role}.{slot}-{this_life()}" for slot in range(self._slots))

    def run_maintenance_tasks(self) -> None:
        """The errand, beside the jobs: what it takes of memory goes with its process."""
        self._look_after_the_dead()
        if time.monotonic() >= self._errand_due_s and not self._children.unnumbered():
            self._begin(partial(self._errand, self._errands))
            self._errand_due_s, self._errands = time.monotonic() + PAUSE_S, self._errands + 1

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """The next job, when there is a slot for it."""
        self._children.wait(lambda: len(self._children.numbers()) < self._slots)
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def execute_job(self, job: Any, queue: Any) -> None:
        """Begins the job's process. Where there is no room for one, the reaper gives the job back."""
        taken = self._children.numbers()
        slot = next(number for number in range(self._slots) if number not in taken)
        if not self._begin(partial(self._perform, job, queue, slot), slot):
            time.sleep(PAUSE_S)

    def handle_warm_shutdown_request(self) -> None:
        """Tells the jobs' processes that their time is limited."""
        super().handle_warm_shutdown_request()
        for pid in self._children.numbers().values():
            with contextlib.suppress(ProcessLookupError):  # it has ended in this moment
                os.kill(pid, signal.SIGTERM)

    def teardown(self) -> None:
        """Waits for them."""
        self._children.wait(lambda: not self._children.numbers())
        super().teardown()

    def _begin(self, work: Callable[[], object], slot: int | None = None) -> bool:
        try:
            self._children.begin(work, slot)
        except OSError as error:
            _logger.error("no process could be started", extra={"error": str(error)})
            return False
        return True

    def _perform(self, job: Any, queue: Any, slot: int) -> None:
        """The job's process."""
        os.setpgrp()
        self.name, self.pid, self.slot = f"{self._role}-{this_life()}", os.getpid(), slot
        proof = locks.hold(self._lock_dir, self.name)
        locks.say_stopping(proof)  # it takes no other job, so it is not to be counted
        self.perform_job(job, queue, self.prepare_execution(job))
        (self._lock_dir / self.name).unlink(missing_ok=True)

    def _look_after_the_dead(self) -> None:
        for slot, code in self._children.ended():
            if slot is not None and code < 0:
                _logger.warning("a job's process died", extra={"slot": slot, "signal": -code})
                locks.sweep(self._lock_dir)
                self._idle(slot)
