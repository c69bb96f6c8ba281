"""The index: finding tasks by a dotted path instead of their id."""

import re
from datetime import datetime
from typing import Any

from taskward.devcluster.clock import Clock, parse_instant, write_instant
from taskward.devcluster.database import Database
from taskward.devcluster.errors import ResourceNotFound
from taskward.devcluster.identifiers import NAMESPACE
from taskward.devcluster.tasks import Task

_ROUTE = "index."
_NAMESPACE = re.compile(NAMESPACE)


class Index:
    """The indexed tasks; of two tasks at one path the higher rank stays, the later one at a tie."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def task_resolved(self, task: Task) -> None:
        """Index a completed task at each of its ``index.`` routes that is a path."""
        if task.state != "completed":
            return
        wishes = _wishes(task.definition["extra"].get("index"), task.expires)
        for route in task.definition["routes"]:
            namespace = route.removeprefix(_ROUTE)
            if wishes and route.startswith(_ROUTE) and _NAMESPACE.fullmatch(namespace):
                self.insert(namespace, task.task_id, *wishes)

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
        found = self.look_up(namespace)
        if found is None:
            raise ResourceNotFound("Indexed task not found")
        return found

    def look_up(self, namespace: str) -> dict[str, Any] | None:
        """Return the task at a path, or None."""
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT * FROM indexed_tasks WHERE namespace = ? AND expires > ?",
                (namespace, self._clock.now()),
            ).fetchone()
        return _to_json(row) if row else None

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


def _wishes(wish: Any, expires: datetime) -> tuple[float, dict[str, Any], datetime] | None:
    """Read ``task.extra.index``, with the defaults for what is missing; None when it makes no sense."""
    wish = wish if isinstance(wish, dict) else {}
    rank, data = wish.get("rank", 0), wish.get("data", {})
    try:
        until = parse_instant(wish["expires"]) if "expires" in wish else expires
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(rank, bool) or not isinstance(rank, int | float) or not isinstance(data, dict):
        return None
    return rank, data, until


def _to_json(row: Any) -> dict[str, Any]:
    return {
        "namespace": row["namespace"],
        "taskId": row["task_id"],
        "rank": row["rank"],
        "data": row["data"],
        "expires": write_instant(row["expires"]),
    }
