"""The index: finding tasks by a dotted path instead of their id."""

from datetime import datetime
from typing import Any

from taskward.devcluster.clock import Clock, parse_instant, write_instant
from taskward.devcluster.database import Database
from taskward.devcluster.errors import ResourceNotFound
from taskward.devcluster.tasks import Task

_ROUTE = "index."


class Index:
    """The indexed tasks; of two tasks at one path the higher rank stays, the later one at a tie."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def task_resolved(self, task: Task) -> None:
        """Index a completed task at each of its ``index.`` routes."""
        if task.state != "completed":
            return
        wish = task.definition["extra"].get("index", {})
        wish = wish if isinstance(wish, dict) else {}
        for route in task.definition["routes"]:
            if route.startswith(_ROUTE):
                self.insert(route.removeprefix(_ROUTE), task.task_id, *_wishes(wish, task.expires))

    def insert(self, namespace: str, task_id: str, rank: float, data: dict[str, Any], expires: datetime) -> None:
        """Put a task at a path, unless one with a higher rank is there."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO indexed_tasks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (namespace) DO UPDATE SET"
                " task_id = excluded.task_id, rank = excluded.rank, data = excluded.data,"
                " expires = excluded.expires WHERE excluded.rank >= rank",
                (namespace, namespace.rpartition(".")[0], task_id, rank, data, expires),
            )

    def find(self, namespace: str) -> dict[str, Any]:
        """Return the task at a path; raises ``ResourceNotFound``."""
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT * FROM indexed_tasks WHERE namespace = ? AND expires > ?",
                (namespace, self._clock.now()),
            ).fetchone()
        if row is None:
            raise ResourceNotFound(f"Indexed task not found: {namespace}")
        return _to_json(row)

    def delete(self, namespace: str) -> None:
        """Remove what is at a path."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM indexed_tasks WHERE namespace = ?", (namespace,))

    def list_tasks(self, namespace: str, after: str, limit: int) -> list[dict[str, Any]]:
        """Return the tasks directly below a path, those that follow ``after``."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT * FROM indexed_tasks WHERE parent = ? AND namespace > ? AND expires > ?"
                " ORDER BY namespace LIMIT ?",
                (namespace, after, self._clock.now(), limit),
            )
            return [_to_json(row) for row in rows]

    def list_namespaces(self, namespace: str, after: str, limit: int) -> list[dict[str, Any]]:
        """Return the paths one step below a path that have tasks further below."""
        prefix = f"{namespace}." if namespace else ""
        latest: dict[str, datetime] = {}
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT parent, expires FROM indexed_tasks WHERE expires > ? AND substr(parent, 1, ?) = ?",
                (self._clock.now(), len(prefix), prefix),
            )
            for parent, expires in rows:
                name = parent[len(prefix) :].partition(".")[0]
                if name:
                    latest[name] = max(expires, latest.get(name, expires))
        below = sorted((prefix + name, name, expires) for name, expires in latest.items())
        return [
            {"namespace": path, "name": name, "expires": write_instant(expires)}
            for path, name, expires in below
            if path > after
        ][:limit]


def _wishes(wish: dict[str, Any], expires: datetime) -> tuple[float, dict[str, Any], datetime]:
    """Read ``task.extra.index``, with the defaults for what is missing or makes no sense."""
    rank, data = wish.get("rank"), wish.get("data")
    try:
        until = parse_instant(wish["expires"])
    except (KeyError, TypeError, ValueError, OverflowError):
        until = expires
    return (
        rank if isinstance(rank, int | float) else 0,
        data if isinstance(data, dict) else {},
        until,
    )


def _to_json(row: Any) -> dict[str, Any]:
    return {
        "namespace": row["namespace"],
        "taskId": row["task_id"],
        "rank": row["rank"],
        "data": row["data"],
        "expires": write_instant(row["expires"]),
    }
