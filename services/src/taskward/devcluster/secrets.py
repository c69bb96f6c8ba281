"""The secrets service: JSON values by name."""

from datetime import datetime
from typing import Any

from taskward.devcluster.clock import Clock, write_instant
from taskward.devcluster.database import Database
from taskward.devcluster.errors import ResourceNotFound


class Secrets:
    """The stored secrets; one that has expired is as good as not there."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def set(self, name: str, secret: dict[str, Any], expires: datetime) -> None:
        """Store a secret in place of what was there."""
        with self._database.transaction() as db:
            db.execute("INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)", (name, secret, expires))

    def get(self, name: str) -> dict[str, Any]:
        """Return ``{secret, expires}``; raises ``ResourceNotFound``."""
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT * FROM secrets WHERE name = ? AND expires > ?", (name, self._clock.now())
            ).fetchone()
        if row is None:
            raise ResourceNotFound("Secret not found")
        return {"secret": row["secret"], "expires": write_instant(row["expires"])}

    def remove(self, name: str) -> None:
        """Delete a secret, if there is one."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM secrets WHERE name = ?", (name,))

    def list(self, after: str, limit: int) -> list[str]:
        """Return names in order, those that follow ``after``."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT name FROM secrets WHERE name > ? ORDER BY name LIMIT ?", (after, limit))
            return [row["name"] for row in rows]
