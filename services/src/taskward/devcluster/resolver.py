"""The background thread for what happens by itself: claims that expire, deadlines that pass."""

import logging
import threading
from datetime import timedelta

from taskward.devcluster.clock import Clock
from taskward.devcluster.database import Database
from taskward.devcluster.runs import Runs
from taskward.devcluster.tasks import Run, Tasks

_log = logging.getLogger(__name__)


class Resolver:
    """Resolves runs whose claim was not renewed and tasks past their deadline.

    ``deadline_delay`` is how long after the deadline a task is left alone, for reports on their way.
    """

    def __init__(self, database: Database, tasks: Tasks, runs: Runs, clock: Clock, deadline_delay: timedelta) -> None:
        self._database = database
        self._tasks = tasks
        self._runs = runs
        self._clock = clock
        self._deadline_delay = deadline_delay
        self._stopped = threading.Event()

    def start(self, poll_s: float) -> None:
        """Begin to sweep every ``poll_s`` seconds, on a thread of its own, until ``stop``."""
        threading.Thread(target=self._sweep_for_ever, args=(poll_s,), name="resolver", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped.set()

    def sweep(self) -> None:
        """Resolve everything that is due now."""
        self._expire_claims()
        self._enforce_deadlines()

    def _sweep_for_ever(self, poll_s: float) -> None:
        while not self._stopped.wait(poll_s):
            try:
                self.sweep()
            except Exception:  # noqa: BLE001 - one bad task must not end the thread that serves all
                _log.exception("sweep failed; it is tried again")

    def _expire_claims(self) -> None:
        now = self._clock.now()
        with self._database.transaction() as db:
            # Past its deadline a task is left to the deadline, which makes no new run.
            rows = db.execute(
                "SELECT runs.* FROM runs JOIN tasks USING (task_id)"
                " WHERE runs.state = 'running' AND runs.taken_until < ? AND tasks.deadline > ?",
                (now, now),
            ).fetchall()
            for row in rows:
                self._runs.claim_expired(Run(**row))

    def _enforce_deadlines(self) -> None:
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT task_id FROM tasks WHERE open AND deadline < ?",
                (self._clock.now() - self._deadline_delay,),
            ).fetchall()
            for task in self._tasks.load_many(row["task_id"] for row in rows):
                self._runs.deadline_exceeded(task)
