"""What workers report to worker-manager when something is wrong with them."""

import sqlite3
from typing import Any

from taskward.devcluster.clock import Clock, write_instant
from taskward.devcluster.database import Database
from taskward.devcluster.identifiers import new_slug
from taskward.devcluster.worker_pools import WorkerPools


class WorkerErrors:
    """The stored reports."""

    def __init__(self, database: Database, pools: WorkerPools, clock: Clock) -> None:
        self._database = database
        self._pools = pools
        self._clock = clock

    def report(self, pool_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store what went wrong on a worker; raises ``ResourceNotFound`` without the pool."""
        self._pools.get_pool(pool_id)
        where = {"workerGroup": body["workerGroup"], "workerId": body["workerId"]}
        row = (
            new_slug(),
            pool_id,
            self._clock.now(),
            body["kind"],
            body["title"],
            body["description"],
            {**body["extra"], **where},
        )
        with self._database.transaction() as db:
            db.execute("INSERT INTO worker_errors VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            stored = db.execute("SELECT * FROM worker_errors WHERE error_id = ?", (row[0],)).fetchone()
        return _error_to_json(stored)

    def of_pool(self, pool_id: str) -> list[dict[str, Any]]:
        """Return what was reported for a pool, or for all when the id is empty, the newest first."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT * FROM worker_errors WHERE ? IN ('', worker_pool_id) ORDER BY reported DESC", (pool_id,)
            )
            return [_error_to_json(row) for row in rows]


def _error_to_json(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "errorId": row["error_id"],
        "workerPoolId": row["worker_pool_id"],
        "reported": write_instant(row["reported"]),
        "kind": row["kind"],
        "title": row["title"],
        "description": row["description"],
        "extra": row["extra"],
    }
