"""The part of worker-manager that a worker of a static pool meets."""

import hmac
import sqlite3
from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.clients import WORKER_MANAGER_CLIENT_ID, Clients
from taskward.devcluster.clock import Clock, parse_instant, write_instant
from taskward.devcluster.credentials import create_temporary
from taskward.devcluster.database import Database
from taskward.devcluster.errors import InputError, RequestConflict, ResourceNotFound
from taskward.devcluster.identifiers import new_slug

_REGISTRATION = timedelta(hours=96)
PROVIDER_ID = "static"


class WorkerPools:
    """Pools of the provider ``static``, and their workers, named one by one beforehand."""

    def __init__(self, database: Database, clients: Clients, clock: Clock) -> None:
        self._database = database
        self._clients = clients
        self._clock = clock

    def put_pool(self, worker_pool_id: str, body: dict[str, Any], new: bool) -> dict[str, Any]:
        """Make or change a pool; raises ``RequestConflict`` or ``ResourceNotFound`` by what is there."""
        now = self._clock.now()
        with self._database.transaction() as db:
            row = db.execute("SELECT created FROM worker_pools WHERE worker_pool_id = ?", (worker_pool_id,)).fetchone()
            if new and row:
                raise RequestConflict(f"Worker pool {worker_pool_id} already exists")
            if not new and not row:
                raise ResourceNotFound("Worker pool does not exist")
            db.execute(
                "INSERT OR REPLACE INTO worker_pools VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    worker_pool_id,
                    body["providerId"],
                    body["description"],
                    body["config"],
                    body["owner"],
                    body["emailOnError"],
                    row["created"] if row else now,
                    now,
                ),
            )
            return self.get_pool(worker_pool_id)

    def get_pool(self, worker_pool_id: str) -> dict[str, Any]:
        """Return a pool as the API does; raises ``ResourceNotFound``."""
        with self._database.transaction() as db:
            row = db.execute("SELECT * FROM worker_pools WHERE worker_pool_id = ?", (worker_pool_id,)).fetchone()
            if row is None:
                raise ResourceNotFound("Worker pool does not exist")
            return {**_pool_to_json(row), **_counts(db, worker_pool_id)}

    def delete_pool(self, worker_pool_id: str) -> dict[str, Any]:
        """Return a pool as it was, given up; it is gone at once, and so is what was announced for it.

        Raises ``ResourceNotFound``.
        """
        with self._database.transaction() as db:
            pool = self.get_pool(worker_pool_id)
            for table in ("worker_pools", "workers"):
                db.execute(f"DELETE FROM {table} WHERE worker_pool_id = ?", (worker_pool_id,))  # noqa: S608 - our names
        return {**pool, "providerId": "null-provider"}

    def counts(self, worker_pool_id: str) -> dict[str, int]:
        """Return how many workers, and how much capacity, a pool has in which state."""
        with self._database.transaction() as db:
            return _counts(db, worker_pool_id)

    def list_pools(self, after: str, limit: int) -> list[dict[str, Any]]:
        """Return pools by id, those that follow ``after``."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT * FROM worker_pools WHERE worker_pool_id > ? ORDER BY worker_pool_id LIMIT ?",
                (after, limit),
            )
            return [{**_pool_to_json(row), **_counts(db, row["worker_pool_id"])} for row in rows.fetchall()]

    def create_worker(self, pool_id: str, group: str, worker_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Announce a worker and the secret it will prove itself by.

        Repeating the call is fine; raises ``RequestConflict`` when it is announced otherwise, and
        ``ResourceNotFound`` without the pool.
        """
        now = self._clock.now()
        self.get_pool(pool_id)
        secret = _secret(body)
        expires = parse_instant(body["expires"])
        with self._database.transaction() as db:
            existing = self._find(db, pool_id, group, worker_id)
            if existing and (existing["static_secret"], existing["expires"]) != (secret, expires):
                raise RequestConflict("Worker already exists")
            db.execute(
                "INSERT OR IGNORE INTO workers VALUES (?, ?, ?, 'running', ?, ?, NULL, ?, ?, ?)",
                (pool_id, group, worker_id, body.get("capacity", 1), secret, now, expires, now),
            )
            return self.get_worker(pool_id, group, worker_id)

    def update_worker(self, pool_id: str, group: str, worker_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Change capacity, expiry and secret of an announced worker; raises ``ResourceNotFound`` and ``InputError``."""
        known = self.get_worker(pool_id, group, worker_id)
        values = body.get("capacity", known["capacity"]), parse_instant(body["expires"]), self._clock.now()
        with self._database.transaction() as db:
            db.execute(
                "UPDATE workers SET capacity = ?, expires = ?, last_modified = ?,"
                " static_secret = coalesce(?, static_secret)"
                " WHERE worker_pool_id = ? AND worker_group = ? AND worker_id = ?",
                (*values, _secret(body) if "providerInfo" in body else None, pool_id, group, worker_id),
            )
            return self.get_worker(pool_id, group, worker_id)

    def get_worker(self, pool_id: str, group: str, worker_id: str) -> dict[str, Any]:
        """Return a worker as the API does; raises ``ResourceNotFound``."""
        with self._database.transaction() as db:
            row = self._find(db, pool_id, group, worker_id)
        if row is None:
            raise ResourceNotFound("Worker not found")
        return _worker_to_json(row)

    def list_workers(self, pool_id: str) -> list[dict[str, Any]]:
        """Return the workers of a pool."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT * FROM workers WHERE worker_pool_id = ? ORDER BY worker_group, worker_id", (pool_id,)
            )
            return [_worker_to_json(row) for row in rows]

    def register(self, body: dict[str, Any]) -> dict[str, Any]:
        """Give a worker its credentials for its static secret.

        Raises ``ResourceNotFound`` for unknown pools and workers, ``InputError`` for another secret.
        """
        pool_id, group, worker_id = body["workerPoolId"], body["workerGroup"], body["workerId"]
        pool = self.get_pool(pool_id)
        if pool["providerId"] != body["providerId"]:
            raise InputError(f"Worker pool {pool_id} not associated with provider {body['providerId']}")
        proof = body["workerIdentityProof"].get("staticSecret")
        with self._database.transaction() as db:
            row = self._find(db, pool_id, group, worker_id)
            if row is None:
                raise ResourceNotFound(f"Worker {group}/{worker_id} in worker pool {pool_id} does not exist")
            if not isinstance(proof, str) or not _equal(row["static_secret"], proof):
                raise InputError("Bad secret")
            reply = self._credentials(db, pool_id, group, worker_id)
        return {**reply, "workerConfig": pool["config"].get("workerConfig", {})}

    def reregister(self, body: dict[str, Any]) -> dict[str, Any]:
        """Give new credentials and a new secret for the secret of the last registration.

        Raises ``InputError`` when the secret is not the newest.
        """
        key = body["workerPoolId"], body["workerGroup"], body["workerId"]
        with self._database.transaction() as db:
            row = self._find(db, *key)
            if row is None or row["secret"] is None or not _equal(row["secret"], body["secret"]):
                raise InputError("Could not generate credentials for this secret")
            return self._credentials(db, *key)

    def remove_worker(self, pool_id: str, group: str, worker_id: str) -> None:
        """Note that a worker is gone; its runs and its credentials stay as they are.

        Raises ``ResourceNotFound``.
        """
        self.get_worker(pool_id, group, worker_id)
        with self._database.transaction() as db:
            db.execute(
                "UPDATE workers SET state = 'stopped', last_modified = ?"
                " WHERE worker_pool_id = ? AND worker_group = ? AND worker_id = ?",
                (self._clock.now(), pool_id, group, worker_id),
            )

    def _credentials(self, db: sqlite3.Connection, pool_id: str, group: str, worker_id: str) -> dict[str, Any]:
        now = self._clock.now()
        expires, secret = now + _REGISTRATION, new_slug() + new_slug()
        db.execute(
            "UPDATE workers SET secret = ?, state = 'running', last_modified = ?"
            " WHERE worker_pool_id = ? AND worker_group = ? AND worker_id = ?",
            (secret, now, pool_id, group, worker_id),
        )
        credentials = create_temporary(
            self._clients.load(WORKER_MANAGER_CLIENT_ID),
            f"worker/{PROVIDER_ID}/{pool_id}/{group}/{worker_id}",
            _worker_scopes(pool_id, f"{group}/{worker_id}"),
            now,
            expires,
        )
        return {"credentials": credentials, "expires": write_instant(expires), "secret": secret}

    @staticmethod
    def _find(db: sqlite3.Connection, pool_id: str, group: str, worker_id: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM workers WHERE worker_pool_id = ? AND worker_group = ? AND worker_id = ?",
            (pool_id, group, worker_id),
        ).fetchone()
        return row


def _worker_scopes(pool_id: str, worker: str) -> list[str]:
    return [
        f"assume:worker-type:{pool_id}",
        f"assume:worker-pool:{pool_id}",
        f"assume:worker-id:{worker}",
        f"queue:worker-id:{worker}",
        f"queue:claim-work:{pool_id}",
        f"secrets:get:worker-type:{pool_id}",
        f"secrets:get:worker-pool:{pool_id}",
        f"worker-manager:remove-worker:{pool_id}/{worker}",
        f"worker-manager:reregister-worker:{pool_id}/{worker}",
        f"worker-manager:should-worker-terminate:{pool_id}/{worker}",
    ]


def _secret(body: dict[str, Any]) -> str:
    secret = body.get("providerInfo", {}).get("staticSecret")
    if not isinstance(secret, str) or len(secret) != 44:
        raise InputError("providerInfo.staticSecret must be a string of 44 characters")
    return secret


def _counts(db: sqlite3.Connection, pool_id: str) -> dict[str, int]:
    rows = db.execute(
        "SELECT state, count(*), sum(capacity) FROM workers WHERE worker_pool_id = ? GROUP BY state", (pool_id,)
    )
    found = {state: (count, capacity) for state, count, capacity in rows}
    counts = {"currentCapacity": sum(capacity for state, (_, capacity) in found.items() if state != "stopped")}
    for state in ("requested", "running", "stopping", "stopped"):
        counts[f"{state}Count"], counts[f"{state}Capacity"] = found.get(state, (0, 0))
    return counts


def _equal(first: str, second: str) -> bool:
    return hmac.compare_digest(first.encode(), second.encode("utf-8", "replace"))


def _times(**instants: datetime) -> dict[str, str]:
    return {name: write_instant(value) for name, value in instants.items()}


def _pool_to_json(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "workerPoolId": row["worker_pool_id"],
        "providerId": row["provider_id"],
        "description": row["description"],
        "config": row["config"],
        "owner": row["owner"],
        "emailOnError": row["email_on_error"],
        **_times(created=row["created"], lastModified=row["last_modified"]),
    }


def _worker_to_json(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "workerPoolId": row["worker_pool_id"],
        "workerGroup": row["worker_group"],
        "workerId": row["worker_id"],
        "providerId": PROVIDER_ID,
        "capacity": row["capacity"],
        "state": row["state"],
        **_times(
            created=row["created"],
            expires=row["expires"],
            lastModified=row["last_modified"],
            lastChecked=row["last_modified"],
        ),
    }
