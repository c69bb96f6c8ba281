"""The permanent clients: who may sign requests, with which token and scopes."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from taskward.devcluster.clock import Clock, write_instant
from taskward.devcluster.database import Database
from taskward.devcluster.errors import AuthenticationFailed, InputError, RequestConflict, ResourceNotFound
from taskward.devcluster.identifiers import new_token
from taskward.devcluster.roles import Roles

ROOT_CLIENT_ID = "root"
#: Issues the credentials that come with a claim, and those for objects.
QUEUE_CLIENT_ID = "static/taskcluster/queue"
#: Issues the credentials that a registered worker gets.
WORKER_MANAGER_CLIENT_ID = "static/taskcluster/worker-manager"

_BUILT_IN = (ROOT_CLIENT_ID, QUEUE_CLIENT_ID, WORKER_MANAGER_CLIENT_ID)
_NEVER = datetime(3000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Client:
    """A permanent client; its scopes are as stored, roles not filled in."""

    client_id: str
    access_token: str
    description: str
    scopes: list[str]
    expires: datetime
    created: datetime
    last_modified: datetime
    last_rotated: datetime
    disabled: bool
    delete_on_expiration: bool


class Clients:
    """The stored clients; the root client and the services' own are there from the start."""

    def __init__(self, database: Database, roles: Roles, clock: Clock) -> None:
        self._database = database
        self._roles = roles
        self._clock = clock
        self._known: dict[str, Client] = {}
        with self._database.transaction() as db:
            for client_id in _BUILT_IN:
                if self._find(db, client_id) is None:
                    self._insert(db, client_id, "Built in.", ["*"], _NEVER, False)

    def load(self, client_id: str) -> Client:
        """Return a client that may sign now.

        Raises ``AuthenticationFailed`` when there is none, or it is disabled or expired.
        """
        client = self._known.get(client_id) or self._learn(client_id)
        if client.disabled:
            raise AuthenticationFailed(f"Client with clientId '{client_id}' is disabled")
        if client.expires < self._clock.now():
            raise AuthenticationFailed(f"Client with clientId '{client_id}' has expired")
        return client

    def _learn(self, client_id: str) -> Client:
        """Keep a client at hand until one is changed: every call asks for one."""
        with self._database.transaction() as db:
            client = self._find(db, client_id)
            if client is None:
                raise AuthenticationFailed(f"Client with clientId '{client_id}' not found")
            self._known[client_id] = client
            return client

    @contextmanager
    def _changed(self) -> Iterator[sqlite3.Connection]:
        """Run a block that changes clients as one transaction; nobody learns of them before it is over."""
        with self._database.transaction() as db:
            self._known.clear()
            yield db

    def create(
        self, client_id: str, description: str, scopes: list[str], expires: datetime, delete_on_expiration: bool
    ) -> dict[str, Any]:
        """Store a client and return it with its token.

        Repeating the call returns the same; raises ``RequestConflict`` when another one has the id.
        """
        self._refuse_static(client_id)
        with self._changed() as db:
            existing = self._find(db, client_id)
            wanted = (description, sorted(scopes), expires)
            if existing and (existing.description, existing.scopes, existing.expires) != wanted:
                raise RequestConflict(f"client with clientId `{client_id}` already exists")
            if existing is None:
                self._insert(db, client_id, description, scopes, expires, delete_on_expiration)
            return {**self.get(client_id), "accessToken": self._load(db, client_id).access_token}

    def update(self, client_id: str, description: str, scopes: list[str] | None, expires: datetime) -> dict[str, Any]:
        """Change a client and return it; scopes of None stay as they are."""
        self._refuse_static(client_id)
        with self._changed() as db:
            kept = self._load(db, client_id).scopes if scopes is None else sorted(scopes)
            db.execute(
                "UPDATE clients SET description = ?, scopes = ?, expires = ?, last_modified = ? WHERE client_id = ?",
                (description, kept, expires, self._clock.now(), client_id),
            )
            return self.get(client_id)

    def set_disabled(self, client_id: str, disabled: bool) -> dict[str, Any]:
        """Shut a client out, or let it in again."""
        self._refuse_static(client_id)
        with self._changed() as db:
            db.execute(
                "UPDATE clients SET disabled = ?, last_modified = ? WHERE client_id = ?",
                (disabled, self._clock.now(), client_id),
            )
            return self.get(client_id)

    def reset_access_token(self, client_id: str) -> dict[str, Any]:
        """Give a client a new token and return it with that; the old token is worth nothing from now on."""
        self._refuse_static(client_id)
        with self._changed() as db:
            token = new_token()
            db.execute(
                "UPDATE clients SET access_token = ?, last_rotated = ? WHERE client_id = ?",
                (token, self._clock.now(), client_id),
            )
            return {**self.get(client_id), "accessToken": token}

    def delete(self, client_id: str) -> None:
        """Remove a client, if there is one."""
        self._refuse_static(client_id)
        with self._changed() as db:
            db.execute("DELETE FROM clients WHERE client_id = ?", (client_id,))

    def get(self, client_id: str) -> dict[str, Any]:
        """Return a client as the API does, without its token.

        Raises ``ResourceNotFound``.
        """
        with self._database.transaction() as db:
            return self._to_json(self._load(db, client_id))

    def page(self, prefix: str, after: str, limit: int) -> list[dict[str, Any]]:
        """Return clients by id, those that follow ``after`` and begin with the prefix."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT * FROM clients WHERE client_id > ? AND substr(client_id, 1, ?) = ? ORDER BY client_id LIMIT ?",
                (after, len(prefix), prefix, limit),
            )
            return [self._to_json(Client(**row)) for row in rows]

    @staticmethod
    def _refuse_static(client_id: str) -> None:
        if client_id == ROOT_CLIENT_ID or client_id.startswith("static/"):
            raise InputError(f"Client `{client_id}` is built in and cannot be changed")

    @staticmethod
    def _find(db: sqlite3.Connection, client_id: str) -> Client | None:
        row = db.execute("SELECT * FROM clients WHERE client_id = ?", (client_id,)).fetchone()
        return Client(**row) if row else None

    def _load(self, db: sqlite3.Connection, client_id: str) -> Client:
        client = self._find(db, client_id)
        if client is None:
            raise ResourceNotFound(f"Client with clientId '{client_id}' not found")
        return client

    def _insert(
        self, db: sqlite3.Connection, client_id: str, description: str, scopes: list[str], expires: datetime,
        delete_on_expiration: bool,
    ) -> None:  # fmt: skip
        now = self._clock.now()
        db.execute(
            "INSERT INTO clients VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (
                client_id, new_token(), description, sorted(scopes), expires, now, now, now,
                delete_on_expiration,
            ),
        )  # fmt: skip

    def _to_json(self, client: Client) -> dict[str, Any]:
        return {
            "clientId": client.client_id,
            "expires": write_instant(client.expires),
            "created": write_instant(client.created),
            "description": client.description,
            "lastModified": write_instant(client.last_modified),
            "lastDateUsed": write_instant(client.last_modified),
            "lastRotated": write_instant(client.last_rotated),
            "disabled": client.disabled,
            "deleteOnExpiration": client.delete_on_expiration,
            "scopes": client.scopes,
            "expandedScopes": self._roles.expand(client.scopes).sorted(),
        }
