"""The workers that the queue has seen, and which of them are in quarantine."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.claims import Claim, Worker
from taskward.devcluster.clock import Clock, write_instant
from taskward.devcluster.database import Database
from taskward.devcluster.errors import ResourceNotFound

_RECENT = 20
#: How long they are said to be remembered; this cluster forgets none.
_QUEUE_LIFE, _WORKER_LIFE = timedelta(days=5), timedelta(days=1)


class QueueWorkers:
    """Workers by task queue, group and id."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def seen(self, task_queue_id: str, worker: Worker, claims: Iterable[Claim] = ()) -> None:
        """Note that a worker asked for work, and what it got."""
        now = self._clock.now()
        key = (task_queue_id, worker.worker_group, worker.worker_id)
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT recent_tasks FROM seen_workers WHERE task_queue_id = ? AND worker_group = ? AND worker_id = ?",
                key,
            ).fetchone()
            recent = row["recent_tasks"] if row else []
            recent += [{"taskId": claim.run.task_id, "runId": claim.run.run_id} for claim in claims]
            db.execute(
                "INSERT INTO seen_workers VALUES (?, ?, ?, ?, ?, NULL, ?)"
                " ON CONFLICT (task_queue_id, worker_group, worker_id) DO UPDATE SET"
                " last_date_active = excluded.last_date_active, recent_tasks = excluded.recent_tasks",
                (*key, now, now, recent[-_RECENT:]),
            )

    def quarantine(self, task_queue_id: str, worker: Worker, until: datetime) -> dict[str, Any]:
        """Keep a worker the queue has seen from getting work until a time; a time in the past sets it free."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE seen_workers SET quarantine_until = ?"
                " WHERE task_queue_id = ? AND worker_group = ? AND worker_id = ?",
                (until, task_queue_id, worker.worker_group, worker.worker_id),
            )
            return self.get(task_queue_id, worker)

    def in_quarantine(self, task_queue_id: str, worker: Worker) -> bool:
        """Tell whether a worker may not get work now."""
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT 1 FROM seen_workers WHERE task_queue_id = ? AND worker_group = ? AND worker_id = ?"
                " AND quarantine_until > ?",
                (task_queue_id, worker.worker_group, worker.worker_id, self._clock.now()),
            ).fetchone()
        return row is not None

    def get(self, task_queue_id: str, worker: Worker) -> dict[str, Any]:
        """Return a worker as the API does; raises ``ResourceNotFound``."""
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT * FROM seen_workers WHERE task_queue_id = ? AND worker_group = ? AND worker_id = ?",
                (task_queue_id, worker.worker_group, worker.worker_id),
            ).fetchone()
        if row is None:
            raise ResourceNotFound(f"Worker {worker.worker_group}/{worker.worker_id} of {task_queue_id} not found")
        return _to_json(row)

    def of_queue(self, task_queue_id: str) -> list[dict[str, Any]]:
        """Return the workers of a queue."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT * FROM seen_workers WHERE task_queue_id = ? ORDER BY worker_group, worker_id",
                (task_queue_id,),
            )
            return [_to_json(row) for row in rows]

    def list_queues(self) -> list[dict[str, Any]]:
        """Return the task queues that anybody asked for work, with the last time of that."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT task_queue_id, last_date_active FROM seen_workers ORDER BY last_date_active")
            latest = {row["task_queue_id"]: row["last_date_active"] for row in rows}
        return [
            {
                "taskQueueId": queue_id,
                "description": "",
                "stability": "experimental",
                "expires": write_instant(active + _QUEUE_LIFE),
                "lastDateActive": write_instant(active),
            }
            for queue_id, active in sorted(latest.items())
        ]


def _to_json(row: Any) -> dict[str, Any]:
    provisioner_id, _, worker_type = row["task_queue_id"].partition("/")
    document = {
        "provisionerId": provisioner_id,
        "workerType": worker_type,
        "workerGroup": row["worker_group"],
        "workerId": row["worker_id"],
        "firstClaim": write_instant(row["first_claim"]),
        "lastDateActive": write_instant(row["last_date_active"]),
        "expires": write_instant(row["last_date_active"] + _WORKER_LIFE),
        "recentTasks": row["recent_tasks"],
        "actions": [],
    }
    if row["quarantine_until"]:
        document["quarantineUntil"] = write_instant(row["quarantine_until"])
    return document
