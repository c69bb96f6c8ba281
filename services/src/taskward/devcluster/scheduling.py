"""When tasks become pending: at once, or when those they depend on are resolved.

Everything here happens in the transaction of what causes it, so dependents never wait for a task
that is resolved already; the real queue takes one to four seconds for it.
"""

from taskward.devcluster.clock import Clock
from taskward.devcluster.database import Database
from taskward.devcluster.errors import InputError, RequestConflict
from taskward.devcluster.tasks import Run, Task, Tasks
from taskward.devcluster.waiting import WaitingRoom

_RESOLVED = ("completed", "failed", "exception")


class Scheduling:
    """Adds pending runs and keeps account of dependencies."""

    def __init__(self, database: Database, tasks: Tasks, room: WaitingRoom, clock: Clock) -> None:
        self._database = database
        self._tasks = tasks
        self._room = room
        self._clock = clock

    def add_run(self, task: Task, reason_created: str) -> None:
        """Give a task a new pending run."""
        self._tasks.save_run(Run(task.task_id, len(task.runs), "pending", reason_created, self._clock.now()))
        self._room.announce()

    def track(self, task: Task) -> None:
        """Begin to wait for a new task's dependencies; schedule it when there is nothing to wait for.

        Raises ``InputError`` when one of them does not exist, or expires before the task's deadline.
        """
        needs = task.definition["dependencies"]
        known = {found.task_id: found for found in self._tasks.load_many(needs)}
        missing = [need for need in needs if need not in known]
        if missing:
            raise InputError("`task.dependencies` references non-existing tasks: " + ", ".join(missing))
        expiring = [need for need in needs if known[need].expires < task.deadline]
        if expiring:
            raise InputError(
                "`task.dependencies` references tasks that expire before `task.deadline`: " + ", ".join(expiring)
            )
        with self._database.transaction() as db:
            for need in needs:
                satisfied = self._satisfies(task.definition["requires"], known[need].state)
                db.execute("INSERT INTO dependencies VALUES (?, ?, ?)", (task.task_id, need, satisfied))
        if self._is_ready(task.task_id):
            self.add_run(task, "scheduled")

    def schedule(self, task_id: str) -> Task:
        """Make an unscheduled task pending whatever it waits for; leaves others as they are.

        Raises ``ResourceNotFound``, and ``RequestConflict`` past the deadline.
        """
        with self._database.transaction():
            task = self._tasks.load(task_id)
            if task.deadline < self._clock.now():
                raise RequestConflict(f"Task `{task_id}` Can't be scheduled past its deadline")
            if not task.runs:
                self.add_run(task, "scheduled")
            return self._tasks.load(task_id)

    def task_resolved(self, task: Task) -> None:
        """Schedule the tasks that waited for this one only."""
        relations = ["all-resolved", "all-completed"] if task.state == "completed" else ["all-resolved"]
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT dependent_id FROM dependencies WHERE required_id = ? AND NOT satisfied", (task.task_id,)
            ).fetchall()
            for dependent in self._tasks.load_many(row[0] for row in rows):
                if dependent.definition["requires"] in relations:
                    db.execute(
                        "UPDATE dependencies SET satisfied = 1 WHERE required_id = ? AND dependent_id = ?",
                        (task.task_id, dependent.task_id),
                    )
                    self._schedule_if_ready(dependent)

    def _schedule_if_ready(self, task: Task) -> None:
        if not task.runs and task.deadline >= self._clock.now() and self._is_ready(task.task_id):
            self.add_run(task, "scheduled")

    def _is_ready(self, task_id: str) -> bool:
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT 1 FROM dependencies WHERE dependent_id = ? AND NOT satisfied", (task_id,)
            ).fetchone()
        return row is None

    @staticmethod
    def _satisfies(requires: str, state: str) -> bool:
        return state == "completed" or (requires == "all-resolved" and state in _RESOLVED)
