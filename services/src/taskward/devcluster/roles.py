"""Roles, and what scopes become when the roles in them are filled in.

``assume:<roleId>`` brings the scopes of the role. A role whose id ends with ``*`` answers for every
id that begins so, and ``<..>`` in its scopes stands for the rest of the id.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from taskward.devcluster.clock import Clock, write_instant
from taskward.devcluster.database import Database
from taskward.devcluster.errors import InputError, RequestConflict, ResourceNotFound
from taskward.devcluster.scopes import ScopeSet

_ASSUME = "assume:"
_CACHED_EXPANSIONS = 1024
#: Far beyond what real roles bring; reached only by roles that feed themselves for ever.
_MOST_SCOPES = 20_000
_LONGEST_SCOPE = 2048

#: What everybody may do, with or without credentials, as on the usual deployments.
ANONYMOUS_SCOPES = [
    "auth:current-scopes",
    "auth:expand-scopes",
    "auth:get-client:*",
    "auth:get-role:*",
    "auth:list-clients",
    "auth:list-roles",
    "index:find-task:*",
    "index:list-namespaces:*",
    "index:list-tasks:*",
    "object:download:public/*",
    "purge-cache:all-purge-requests",
    "purge-cache:purge-requests:*",
    "queue:claimed-count:*",
    "queue:claimed-list:*",
    "queue:get-artifact:public/*",
    "queue:get-provisioner:*",
    "queue:get-task-group:*",
    "queue:get-task-queue:*",
    "queue:get-task:*",
    "queue:get-worker-type:*",
    "queue:get-worker:*",
    "queue:list-artifacts:*",
    "queue:list-dependent-tasks:*",
    "queue:list-task-group:*",
    "queue:list-task-queues",
    "queue:list-provisioners",
    "queue:list-worker-types:*",
    "queue:list-workers:*",
    "queue:pending-count:*",
    "queue:pending-list:*",
    "queue:status:*",
    "worker-manager:get-worker-pool:*",
    "worker-manager:get-worker:*",
    "worker-manager:list-worker-pools",
    "worker-manager:list-workers:*",
]


class Roles:
    """The stored roles; the role ``anonymous`` is there from the start."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._expansions: dict[frozenset[str], ScopeSet] = {}
        with self._database.transaction() as db:
            if not self._find(db, "anonymous"):
                self._write(db, "anonymous", "What everybody may do.", ANONYMOUS_SCOPES)

    def expand(self, scopes: Iterable[str]) -> ScopeSet:
        """Return the scopes together with all that their roles bring, in any number of steps."""
        key = frozenset(scopes)
        known = self._expansions.get(key)
        if known is None:
            with self._database.transaction() as db:
                roles = [(row["role_id"], row["scopes"]) for row in db.execute("SELECT * FROM roles")]
                known = _closure(key, roles)
                if len(self._expansions) >= _CACHED_EXPANSIONS:
                    self._expansions.clear()
                self._expansions[key] = known
        return known

    def create(self, role_id: str, description: str, scopes: list[str]) -> dict[str, Any]:
        """Store a role and return it.

        Raises ``RequestConflict`` when there is another one of that id, and ``InputError`` when its
        parameter would grow without end.
        """
        with self._database.transaction() as db:
            existing = self._find(db, role_id)
            if existing and (existing["description"], existing["scopes"]) != (description, sorted(scopes)):
                raise RequestConflict(f"Role `{role_id}` already exists with other scopes or description")
            if not existing:
                self._write(db, role_id, description, scopes)
            return self.get(role_id)

    def update(self, role_id: str, description: str, scopes: list[str]) -> dict[str, Any]:
        """Change a role and return it.

        Raises ``ResourceNotFound``, and ``InputError`` as ``create`` does.
        """
        with self._database.transaction() as db:
            self.get(role_id)
            self._write(db, role_id, description, scopes)
            return self.get(role_id)

    def delete(self, role_id: str) -> None:
        """Remove a role, if there is one."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM roles WHERE role_id = ?", (role_id,))
            self._expansions.clear()

    def get(self, role_id: str) -> dict[str, Any]:
        """Return a role as the API does.

        Raises ``ResourceNotFound``.
        """
        with self._database.transaction() as db:
            row = self._find(db, role_id)
        if row is None:
            raise ResourceNotFound(f"Role `{role_id}` not found")
        return self._to_json(row)

    def list(self) -> list[dict[str, Any]]:
        """Return all roles by id."""
        with self._database.transaction() as db:
            return [self._to_json(row) for row in db.execute("SELECT * FROM roles ORDER BY role_id")]

    @staticmethod
    def _find(db: sqlite3.Connection, role_id: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute("SELECT * FROM roles WHERE role_id = ?", (role_id,)).fetchone()
        return row

    def _write(self, db: sqlite3.Connection, role_id: str, description: str, scopes: Iterable[str]) -> None:
        now = self._clock.now()
        db.execute(
            "INSERT INTO roles VALUES (?, ?, ?, ?, ?) ON CONFLICT (role_id) DO UPDATE SET description ="
            " excluded.description, scopes = excluded.scopes, last_modified = excluded.last_modified",
            (role_id, description, sorted(scopes), now, now),
        )
        self._expansions.clear()

    def _to_json(self, row: sqlite3.Row) -> dict[str, Any]:
        return {
            "roleId": row["role_id"],
            "scopes": row["scopes"],
            "description": row["description"],
            "created": write_instant(row["created"]),
            "lastModified": write_instant(row["last_modified"]),
            "expandedScopes": self.expand([*row["scopes"], _ASSUME + row["role_id"]]).sorted(),
        }


def _closure(scopes: Iterable[str], roles: list[tuple[str, list[str]]]) -> ScopeSet:
    reached = set(scopes)
    waiting = list(reached)
    while waiting:
        scope = waiting.pop()
        for role_id, granted in roles:
            for addition in _granted(scope, role_id, granted):
                if addition not in reached:
                    reached.add(addition)
                    waiting.append(addition)
                    if len(reached) > _MOST_SCOPES or len(addition) > _LONGEST_SCOPE:
                        raise InputError(f"Role `{role_id}` feeds itself: its parameter grows without end")
    return ScopeSet.of(reached)


def _granted(scope: str, role_id: str, granted: Iterable[str]) -> Iterator[str]:
    """Yield what one held scope brings by one role."""
    pattern = _ASSUME + role_id
    starred = scope.endswith("*")
    if scope == pattern or (starred and pattern.startswith(scope[:-1])):
        rest = "*"
    elif role_id.endswith("*") and scope.startswith(pattern[:-1]):
        rest = scope[len(pattern) - 1 :]
    else:
        return
    for addition in granted:
        before, hole, after = addition.partition("<..>")
        if not hole or not role_id.endswith("*"):
            yield addition
        else:
            yield before + rest + ("" if rest.endswith("*") else after)
