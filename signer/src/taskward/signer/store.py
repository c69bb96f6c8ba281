"""What the signer must not forget: which runs it signed for, and which requests it has seen."""

import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.signer.answers import ConflictError

NONCE_LIFE_S: Final = 600
"""Longer than any request stays fresh; afterwards its time stamp refuses it."""

_ANSWER_LIFE_S: Final = 30 * 24 * 3600
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS runs (
    task_id TEXT NOT NULL, run_id INTEGER NOT NULL,
    request_digest TEXT NOT NULL, reserved_at REAL NOT NULL, answer BLOB,
    UNIQUE (task_id, run_id)
) STRICT;
CREATE TABLE IF NOT EXISTS nonces (nonce TEXT NOT NULL UNIQUE, seen_at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS head (only INTEGER PRIMARY KEY CHECK (only = 0), seq INTEGER, hash TEXT) STRICT;
"""


@dataclass(frozen=True)
class Reservation:
    """The one request that a run is, or was, signed for; `answer` is None until the signatures were made."""

    request_digest: str
    answer: bytes | None


class Store:
    """SQLite in a file; safe for use by several threads. A change is on disk when its call returns."""

    def __init__(self, file: Path, now_s: float) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=10)
        os.chmod(file, 0o600)  # noqa: PTH101
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)
        self._database.execute("UPDATE runs SET answer = NULL WHERE reserved_at < ?", (now_s - _ANSWER_LIFE_S,))

    def use_nonce(self, nonce: str, now_s: float) -> None:
        """Raises `ConflictError` when this nonce was used within `NONCE_LIFE_S`."""
        with self._lock:
            self._database.execute("DELETE FROM nonces WHERE seen_at < ?", (now_s - NONCE_LIFE_S,))
            try:
                self._database.execute("INSERT INTO nonces VALUES (?, ?)", (nonce, now_s))
            except sqlite3.IntegrityError:
                raise ConflictError("replayed", "this nonce was used before; make a new one") from None

    def find(self, task_id: str, run_id: int) -> Reservation | None:
        """The run's reservation, if it has one."""
        query = "SELECT request_digest, answer FROM runs WHERE task_id = ? AND run_id = ?"
        with self._lock:
            row = self._database.execute(query, (task_id, run_id)).fetchone()
        return None if row is None else Reservation(*row)

    def reserve(self, task_id: str, run_id: int, request_digest: str, now_s: float) -> None:
        """Bind the run to this request for ever, before any key is used; idempotent.

        Raises `ConflictError` when the run is bound to another.
        """
        statement = "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, NULL)"
        with self._lock:
            self._database.execute(statement, (task_id, run_id, request_digest, now_s))
        reservation = self.find(task_id, run_id)
        if reservation is None or reservation.request_digest != request_digest:
            raise conflict(task_id, run_id)

    def complete(self, task_id: str, run_id: int, answer: bytes) -> bytes:
        """Keep the answer, and return what is kept: the first one, if another was faster."""
        statement = "UPDATE runs SET answer = ? WHERE task_id = ? AND run_id = ? AND answer IS NULL"
        with self._lock:
            self._database.execute(statement, (answer, task_id, run_id))
        kept = self.find(task_id, run_id)
        return answer if kept is None or kept.answer is None else kept.answer

    def remember_head(self, seq: int, digest: str) -> None:
        """Keep the newest line of the audit log, so that a log cut short is noticed at the next start."""
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO head VALUES (0, ?, ?)", (seq, digest))

    def head(self) -> tuple[int, str] | None:
        """The newest line of the audit log that was remembered: number and hash."""
        with self._lock:
            row: tuple[int, str] | None = self._database.execute("SELECT seq, hash FROM head").fetchone()
        return row

    def close(self) -> None:
        """The store is of no use afterwards."""
        self._database.close()


def conflict(task_id: str, run_id: int) -> ConflictError:
    """The refusal of a second, different request for one run."""
    return ConflictError("signed-otherwise", f"run {task_id}/{run_id} was certified with other content before")
