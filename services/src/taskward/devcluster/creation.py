"""Creating tasks, and the groups they belong to."""

from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.clock import Clock, parse_instant
from taskward.devcluster.database import Database
from taskward.devcluster.definition import Definition
from taskward.devcluster.errors import RequestConflict
from taskward.devcluster.scheduling import Scheduling
from taskward.devcluster.tasks import Task, Tasks

_GROUP_OUTLIVES_TASKS = timedelta(days=1)


class Creation:
    """Puts new tasks into the queue."""

    def __init__(self, database: Database, tasks: Tasks, scheduling: Scheduling, clock: Clock) -> None:
        self._database = database
        self._tasks = tasks
        self._scheduling = scheduling
        self._clock = clock

    def create(self, task_id: str, definition: Definition) -> Task:
        """Store a task and return it, pending unless it has to wait for others.

        Repeating the call with the same definition changes nothing, as long as its group is not sealed.
        Raises ``RequestConflict`` for another definition, a group of another scheduler or a sealed group,
        and ``InputError`` for its times and when a dependency does not exist or expires too early.
        """
        definition.check_times(self._clock.now())
        with self._database.transaction():
            self._join_group(definition.document)
            existing = self._tasks.find(task_id)
            if existing is None:
                self._tasks.insert(task_id, definition)
                self._scheduling.track(self._tasks.load(task_id))
            elif existing.definition != definition.document:
                raise RequestConflict(
                    f"taskId `{task_id}` already used by another task.\nThis could be the result of faulty idempotency!"
                )
            return self._tasks.load(task_id)

    def seal_group(self, task_group_id: str) -> None:
        """Let no more tasks into a group."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE task_groups SET sealed = coalesce(sealed, ?) WHERE task_group_id = ?",
                (self._clock.now(), task_group_id),
            )

    def _join_group(self, document: dict[str, Any]) -> None:
        group_id, scheduler_id = document["taskGroupId"], document["schedulerId"]
        expires: datetime = parse_instant(document["expires"]) + _GROUP_OUTLIVES_TASKS
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO task_groups VALUES (?, ?, ?, NULL) ON CONFLICT (task_group_id)"
                " DO UPDATE SET expires = max(expires, excluded.expires)",
                (group_id, scheduler_id, expires),
            )
            group = db.execute("SELECT * FROM task_groups WHERE task_group_id = ?", (group_id,)).fetchone()
        if group["scheduler_id"] != scheduler_id:
            raise RequestConflict(
                f"Task group `{group_id}` contains tasks with schedulerId `{group['scheduler_id']}`. You are "
                f"attempting to include tasks from schedulerId `{scheduler_id}`, which is not permitted."
            )
        if group["sealed"]:
            raise RequestConflict(f"Task group `{group_id}` is sealed and does not accept new tasks.")
