"""The purge-cache service: which caches workers should throw away."""

from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.clock import Clock, write_instant
from taskward.devcluster.database import Database

_LIFETIME = timedelta(days=1)


class PurgeCache:
    """The requests of the last day.

    As in the real service the list of a pool is remembered for ``stale_s`` seconds, so a request may
    show up that late.
    """

    def __init__(self, database: Database, clock: Clock, stale_s: float) -> None:
        self._database = database
        self._clock = clock
        self._stale = timedelta(seconds=stale_s)
        self._remembered: dict[str, tuple[datetime, list[tuple[str, datetime]]]] = {}

    def request(self, worker_pool_id: str, cache_name: str) -> None:
        """Ask for caches made before now to be thrown away."""
        now = self._clock.now()
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO purge_requests VALUES (?, ?, ?, ?)",
                (worker_pool_id, cache_name, now, now + _LIFETIME),
            )

    def requests(self, worker_pool_id: str, since: datetime | None) -> list[dict[str, Any]]:
        """Return the requests for a pool, from a time on."""
        now = self._clock.now()
        with self._database.transaction() as db:
            known = self._remembered.get(worker_pool_id)
            if known is None or now >= known[0] + self._stale:
                rows = db.execute(
                    "SELECT cache_name, before FROM purge_requests WHERE worker_pool_id = ? AND expires > ?",
                    (worker_pool_id, now),
                )
                known = (now, [(row["cache_name"], row["before"]) for row in rows])
                self._remembered[worker_pool_id] = known
        return [
            _to_json(worker_pool_id, cache_name, before)
            for cache_name, before in known[1]
            if since is None or before >= since
        ]

    def list(self, after: str, limit: int) -> list[dict[str, Any]]:
        """Return the requests for all pools, those that follow ``after`` (pool and cache, by a newline)."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT * FROM purge_requests WHERE expires > ?"
                " AND worker_pool_id || char(10) || cache_name > ?"
                " ORDER BY worker_pool_id || char(10) || cache_name LIMIT ?",
                (self._clock.now(), after, limit),
            )
            return [_to_json(row["worker_pool_id"], row["cache_name"], row["before"]) for row in rows]


def _to_json(worker_pool_id: str, cache_name: str, before: datetime) -> dict[str, Any]:
    provisioner_id, _, worker_type = worker_pool_id.partition("/")
    return {
        "provisionerId": provisioner_id,
        "workerType": worker_type,
        "cacheName": cache_name,
        "before": write_instant(before),
    }
