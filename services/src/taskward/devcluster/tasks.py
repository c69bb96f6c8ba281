"""Tasks and their runs as they are stored."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskward.devcluster.clock import parse_instant, write_instant
from taskward.devcluster.database import Database
from taskward.devcluster.definition import PRIORITIES, Definition
from taskward.devcluster.errors import ResourceNotFound

#: A task never has more runs, however they come about.
MOST_RUNS = 50


@dataclass(frozen=True)
class Run:
    """One attempt at a task; ``state`` is pending, running, completed, failed or exception."""

    task_id: str
    run_id: int
    state: str
    reason_created: str
    scheduled: datetime
    reason_resolved: str | None = None
    worker_group: str | None = None
    worker_id: str | None = None
    taken_until: datetime | None = None
    started: datetime | None = None
    resolved: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the run as it stands in a status."""
        document = {
            "runId": self.run_id,
            "state": self.state,
            "reasonCreated": self.reason_created,
            "reasonResolved": self.reason_resolved,
            "workerGroup": self.worker_group,
            "workerId": self.worker_id,
            "takenUntil": self.taken_until,
            "scheduled": self.scheduled,
            "started": self.started,
            "resolved": self.resolved,
        }
        return {
            key: write_instant(value) if isinstance(value, datetime) else value
            for key, value in document.items()
            if value is not None
        }


@dataclass(frozen=True)
class Task:
    """A task with its runs, oldest first."""

    task_id: str
    task_queue_id: str
    task_group_id: str
    deadline: datetime
    expires: datetime
    retries_left: int
    priority: str
    open: bool
    definition: dict[str, Any]
    runs: tuple[Run, ...] = ()

    @property
    def state(self) -> str:
        """The last run's state, or ``unscheduled``."""
        return self.runs[-1].state if self.runs else "unscheduled"

    @property
    def scheduler_id(self) -> str:
        """Who created the task."""
        return str(self.definition["schedulerId"])

    def run(self, run_id: int) -> Run:
        """Return a run; raises ``ResourceNotFound``."""
        if run_id >= len(self.runs):
            raise ResourceNotFound(f"Run {run_id} not found on task `{self.task_id}`.")
        return self.runs[run_id]

    def status(self) -> dict[str, Any]:
        """Return the status as the API does."""
        return {
            "taskId": self.task_id,
            "provisionerId": self.definition["provisionerId"],
            "workerType": self.definition["workerType"],
            "taskQueueId": self.task_queue_id,
            "schedulerId": self.scheduler_id,
            "projectId": self.definition["projectId"],
            "taskGroupId": self.task_group_id,
            "priority": self.priority,
            "deadline": write_instant(self.deadline),
            "expires": write_instant(self.expires),
            "retriesLeft": self.retries_left,
            "state": self.state,
            "runs": [run.to_json() for run in self.runs],
        }

    def current_definition(self) -> dict[str, Any]:
        """Return the definition with the priority as it is now."""
        return {**self.definition, "priority": self.priority}


class Tasks:
    """The stored tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, task_id: str, definition: Definition) -> None:
        """Store a new task without runs; raises ``sqlite3.IntegrityError`` when the id is taken."""
        document = definition.document
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)",
                (
                    task_id,
                    document["taskQueueId"],
                    document["taskGroupId"],
                    parse_instant(document["deadline"]),
                    parse_instant(document["expires"]),
                    document["retries"],
                    document["priority"],
                    document,
                ),
            )

    def find(self, task_id: str) -> Task | None:
        """Return a task or None."""
        with self._database.transaction() as db:
            row = db.execute("SELECT * FROM tasks WHERE task_id = ?", (task_id,)).fetchone()
            return self._assemble(db, row) if row else None

    def load(self, task_id: str) -> Task:
        """Return a task; raises ``ResourceNotFound``."""
        task = self.find(task_id)
        if task is None:
            raise ResourceNotFound(
                f"`{task_id}` does not correspond to a task that exists.\n"
                "Are you sure this task has already been submitted?"
            )
        return task

    def load_many(self, task_ids: Iterable[str]) -> list[Task]:
        """Return those of the tasks that exist."""
        return [task for task_id in task_ids if (task := self.find(task_id))]

    def save_run(self, run: Run) -> None:
        """Store a run in place of what was stored of it, and keep the list of pending runs right."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.task_id,
                    run.run_id,
                    run.state,
                    run.reason_created,
                    run.scheduled,
                    run.reason_resolved,
                    run.worker_group,
                    run.worker_id,
                    run.taken_until,
                    run.started,
                    run.resolved,
                ),
            )
            db.execute("DELETE FROM pending_runs WHERE task_id = ?", (run.task_id,))
            if run.state == "pending":
                self._queue(db, run)

    def set_open(self, task_id: str, is_open: bool, retries_left: int) -> None:
        """Note whether anything can still happen to a task by itself, and its remaining retries."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE tasks SET open = ?, retries_left = ? WHERE task_id = ?",
                (is_open, retries_left, task_id),
            )

    def set_priority(self, task_id: str, priority: str) -> None:
        """Give a task another priority, also where it waits already."""
        with self._database.transaction() as db:
            db.execute("UPDATE tasks SET priority = ? WHERE task_id = ?", (priority, task_id))
            db.execute("UPDATE pending_runs SET rank = ? WHERE task_id = ?", (_rank(priority), task_id))

    @staticmethod
    def _queue(db: sqlite3.Connection, run: Run) -> None:
        row = db.execute(
            "SELECT task_queue_id, priority, deadline FROM tasks WHERE task_id = ?", (run.task_id,)
        ).fetchone()
        position = db.execute("SELECT coalesce(max(position), 0) + 1 FROM pending_runs").fetchone()[0]
        db.execute(
            "INSERT INTO pending_runs VALUES (?, ?, ?, ?, ?, ?)",
            (run.task_id, run.run_id, row["task_queue_id"], _rank(row["priority"]), row["deadline"], position),
        )

    @staticmethod
    def _assemble(db: sqlite3.Connection, row: sqlite3.Row) -> Task:
        rows = db.execute("SELECT * FROM runs WHERE task_id = ? ORDER BY run_id", (row["task_id"],))
        return Task(**row, runs=tuple(Run(**run) for run in rows))


def _rank(priority: str) -> int:
    return len(PRIORITIES) - PRIORITIES.index(priority)
