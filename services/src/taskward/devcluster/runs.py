"""How runs are resolved, and what follows from it: retries, dependents, the index."""

from collections.abc import Callable
from dataclasses import replace

from taskward.devcluster.clock import Clock
from taskward.devcluster.database import Database
from taskward.devcluster.errors import RequestConflict
from taskward.devcluster.scheduling import Scheduling
from taskward.devcluster.tasks import MOST_RUNS, Run, Task, Tasks

#: Reasons that a worker may give, and what a new run is created for, if at all.
EXCEPTION_REASONS: dict[str, str | None] = {
    "worker-shutdown": "retry",
    "intermittent-task": "task-retry",
    "malformed-payload": None,
    "resource-unavailable": None,
    "internal-error": None,
}


class Runs:
    """Resolves runs. Each call is one transaction and returns the task afterwards.

    ``on_resolved`` is called, in that transaction, with each task of which no run is left.
    """

    def __init__(
        self,
        database: Database,
        tasks: Tasks,
        scheduling: Scheduling,
        clock: Clock,
        on_resolved: Callable[[Task], None],
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._scheduling = scheduling
        self._clock = clock
        self._on_resolved = on_resolved

    def report(self, task_id: str, run_id: int, state: str) -> Task:
        """Resolve a running run as completed or failed; repeating the report is fine.

        A report after the deadline counts as long as the resolver has not been there. Raises
        ``ResourceNotFound``, and ``RequestConflict`` when the run is in another state.
        """
        with self._database.transaction():
            task = self._tasks.load(task_id)
            run = task.run(run_id)
            if run.state == state:
                return task
            self._demand_running(run)
            return self._resolve(task, run, state, state)

    def report_exception(self, task_id: str, run_id: int, reason: str) -> Task:
        """Resolve a running run as exception, with a new run when the reason asks for one.

        Repeating the report is fine and makes no second run. Raises ``ResourceNotFound``, and
        ``RequestConflict`` when the run is resolved otherwise or not running.
        """
        with self._database.transaction():
            task = self._tasks.load(task_id)
            run = task.run(run_id)
            if (run.state, run.reason_resolved) == ("exception", reason):
                return task
            self._demand_running(run)
            return self._resolve(task, run, "exception", reason, EXCEPTION_REASONS[reason])

    def claim_expired(self, run: Run) -> Task:
        """Resolve a run whose worker went silent; it is tried again while retries are left."""
        with self._database.transaction():
            return self._resolve(self._tasks.load(run.task_id), run, "exception", "claim-expired", "retry")

    def deadline_exceeded(self, task: Task) -> Task:
        """Resolve a task that is past its deadline."""
        return self._end(task, "deadline-exceeded")

    def cancel(self, task_id: str) -> Task:
        """Resolve a task that is not resolved yet as canceled; leaves others as they are.

        Raises ``ResourceNotFound``, and ``RequestConflict`` past the deadline.
        """
        with self._database.transaction():
            task = self._tasks.load(task_id)
            self._demand_before_deadline(task, "canceled")
            if task.state in ("unscheduled", "pending", "running"):
                return self._end(task, "canceled")
            return task

    def rerun(self, task_id: str) -> Task:
        """Give a resolved or unscheduled task a new run and all its retries back.

        Leaves pending and running ones as they are. Raises ``ResourceNotFound``, and
        ``RequestConflict`` past the deadline or when there are too many runs.
        """
        with self._database.transaction():
            task = self._tasks.load(task_id)
            self._demand_before_deadline(task, "rescheduled")
            if task.state in ("pending", "running"):
                return task
            if len(task.runs) >= MOST_RUNS:
                raise RequestConflict(f"Maximum number of runs reached ({MOST_RUNS}).")
            self._scheduling.add_run(task, "rerun")
            retries = min(task.definition["retries"], MOST_RUNS - len(task.runs) - 1)
            self._tasks.set_open(task_id, True, retries)
            return self._tasks.load(task_id)

    def _end(self, task: Task, reason: str) -> Task:
        with self._database.transaction():
            if task.runs:
                return self._resolve(task, task.runs[-1], "exception", reason)
            now = self._clock.now()
            return self._resolve(task, Run(task.task_id, 0, "pending", "exception", now), "exception", reason)

    def _resolve(self, task: Task, run: Run, state: str, reason: str, retry: str | None = None) -> Task:
        resolved = replace(run, state=state, reason_resolved=reason, resolved=self._clock.now())
        self._tasks.save_run(resolved)
        after = self._tasks.load(task.task_id)
        if retry and task.retries_left > 0 and len(after.runs) < MOST_RUNS:
            self._tasks.set_open(task.task_id, True, task.retries_left - 1)
            self._scheduling.add_run(after, retry)
            return self._tasks.load(task.task_id)
        self._tasks.set_open(task.task_id, False, task.retries_left)
        self._scheduling.task_resolved(after)
        self._on_resolved(after)
        return after

    @staticmethod
    def _demand_running(run: Run) -> None:
        if run.state != "running":
            raise RequestConflict(
                f"Run {run.run_id} on task `{run.task_id}` is resolved or not running.\n"
                f"Its state is {run.state} ({run.reason_resolved or 'not resolved'})."
            )

    def _demand_before_deadline(self, task: Task, done: str) -> None:
        if task.deadline < self._clock.now():
            raise RequestConflict(f"Task `{task.task_id}` Can't be {done} past its deadline")
