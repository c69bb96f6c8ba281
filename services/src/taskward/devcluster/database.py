"""The one SQLite file in which the cluster's state lives.

Columns of type INSTANT hold aware times, JSON any JSON value, FLAG booleans; they are converted on
the way in and out. Everything goes through one connection and one lock: each transaction takes well
below a millisecond, and no two can disagree. A process killed at any moment loses nothing that was
committed (a machine that loses power may lose the last transactions).
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from taskward.devcluster.clock import from_ms, to_ms

_SCHEMA = Path(__file__).with_name("schema.sql")

sqlite3.register_adapter(datetime, to_ms)
sqlite3.register_adapter(dict, json.dumps)
sqlite3.register_adapter(list, json.dumps)
sqlite3.register_converter("INSTANT", lambda raw: from_ms(int(raw)))
sqlite3.register_converter("JSON", json.loads)
sqlite3.register_converter("FLAG", lambda raw: raw == b"1")


class Database:
    """The open database; safe to use from any thread.

    ``path`` may be ``:memory:``. Opening creates the tables.
    """

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path, check_same_thread=False, isolation_level=None, detect_types=sqlite3.PARSE_DECLTYPES
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 10000;" + _SCHEMA.read_text()
        )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction, alone.

        A transaction opened inside another joins it. An exception undoes everything.
        """
        with self._lock:
            outermost = not self._connection.in_transaction
            if outermost:
                self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                if outermost:
                    self._connection.commit()
            except BaseException:
                if outermost:
                    self._connection.rollback()
                raise

    def fact(self, name: str, generate: Callable[[], str]) -> str:
        """Return a lasting value by name, generated when it is asked for the first time."""
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO facts (name, value) VALUES (?, ?)", (name, generate()))
            return str(db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    def close(self) -> None:
        """Close the file; later use raises ``sqlite3.ProgrammingError``."""
        with self._lock:
            self._connection.close()
