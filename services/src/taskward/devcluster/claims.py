"""Claiming work and keeping it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.clients import QUEUE_CLIENT_ID, Clients
from taskward.devcluster.clock import Clock, to_ms
from taskward.devcluster.credentials import create_temporary
from taskward.devcluster.database import Database
from taskward.devcluster.errors import RequestConflict
from taskward.devcluster.tasks import Run, Task, Tasks


@dataclass(frozen=True)
class Worker:
    """Who claims."""

    worker_group: str
    worker_id: str


@dataclass(frozen=True)
class Claim:
    """A run given to a worker, with the credentials for it."""

    task: Task
    run: Run
    taken_until: datetime
    credentials: dict[str, str]

    def to_json(self, write: Callable[[datetime], str]) -> dict[str, Any]:
        """Return the claim as ``claimWork`` and ``reclaimTask`` do, times written by ``write``."""
        return {
            "status": self.task.status(),
            "runId": self.run.run_id,
            "workerGroup": self.run.worker_group,
            "workerId": self.run.worker_id,
            "takenUntil": write(self.taken_until),
            "credentials": self.credentials,
        }


class Claims:
    """Gives pending runs to workers; no run is ever given twice."""

    def __init__(self, database: Database, tasks: Tasks, clients: Clients, clock: Clock, timeout: timedelta) -> None:
        self._database = database
        self._tasks = tasks
        self._clients = clients
        self._clock = clock
        self._timeout = timeout

    def take(self, task_queue_id: str, worker: Worker, most: int) -> list[Claim]:
        """Claim up to ``most`` pending runs, the highest priority and then the oldest first."""
        now = self._clock.now()
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT task_id, run_id FROM pending_runs WHERE task_queue_id = ? AND deadline > ?"
                " ORDER BY rank DESC, position LIMIT ?",
                (task_queue_id, now, most),
            ).fetchall()
            return [self._start(self._tasks.load(row["task_id"]), row["run_id"], worker) for row in rows]

    def take_one(self, task_id: str, run_id: int, worker: Worker) -> Claim:
        """Claim a certain run.

        Raises ``ResourceNotFound``, and ``RequestConflict`` when it is not pending or the task is past
        its deadline.
        """
        with self._database.transaction():
            task = self._tasks.load(task_id)
            if task.deadline <= self._clock.now():
                raise RequestConflict(f"Task `{task_id}` Can't be claimed past its deadline")
            if task.run(run_id).state != "pending":
                raise RequestConflict(f"Run {run_id} was already claimed by another worker.")
            return self._start(task, run_id, worker)

    def renew(self, task_id: str, run_id: int) -> Claim:
        """Prolong a claim, with new credentials.

        Raises ``ResourceNotFound``, and ``RequestConflict`` when the run is not running any more or
        the task is past its deadline: the worker stops working on it.
        """
        with self._database.transaction():
            task = self._tasks.load(task_id)
            run = task.run(run_id)
            if task.deadline < self._clock.now():
                raise RequestConflict(f"Task `{task_id}` can't be reclaimed past its deadline")
            if run.state != "running":
                raise RequestConflict(f"Run {run_id} on task `{task_id}` is resolved or not running.")
            return self._hold(replace(run, taken_until=self._clock.now() + self._timeout))

    def _start(self, task: Task, run_id: int, worker: Worker) -> Claim:
        now = self._clock.now()
        run = replace(
            task.run(run_id),
            state="running",
            worker_group=worker.worker_group,
            worker_id=worker.worker_id,
            started=now,
            taken_until=now + self._timeout,
        )
        return self._hold(run)

    def _hold(self, run: Run) -> Claim:
        self._tasks.save_run(run)
        task = self._tasks.load(run.task_id)
        until = run.taken_until or self._clock.now()
        return Claim(task, run, until, self._credentials(task, run, until))

    def _credentials(self, task: Task, run: Run, until: datetime) -> dict[str, str]:
        what = f"{run.task_id}/{run.run_id}"
        where = f"{run.worker_group}/{run.worker_id}"
        verbs = ("reclaim-task", "resolve-task", "create-artifact")
        return create_temporary(
            self._clients.load(QUEUE_CLIENT_ID),
            f"task-client/{what}/on/{where}/until/{_epoch_s(until)}",
            [*(f"queue:{verb}:{what}" for verb in verbs), *task.definition["scopes"]],
            self._clock.now(),
            until,
        )


def _epoch_s(instant: datetime) -> str:
    """Write seconds since 1970 as JavaScript does, with as many of three decimals as there are."""
    return str(to_ms(instant) / 1000).removesuffix(".0")
