"""The signer's state directory: one process has it at a time."""

import fcntl
import os
import sqlite3
import time
from pathlib import Path

from taskward.signer.audit import AuditLog, Head
from taskward.signer.errors import SettingsError
from taskward.signer.store import Store


def hold(directory: Path) -> None:
    """Make this process the only one with these records until it ends; `SettingsError` when another has them."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SettingsError(f"cannot use state_dir {directory}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SettingsError(f"{directory} is in use by another signer; stop that one first") from None


def open_records(state_dir: Path) -> tuple[Store, AuditLog]:
    """``signer.sqlite`` and ``audit.jsonl`` of the state directory, the log checked against the store.

    Raises `BrokenChainError` when the log was tampered with, `SettingsError` when a file cannot be used.
    """
    try:
        store = Store(state_dir / "signer.sqlite", time.time())
        head = store.head()
        return store, AuditLog(state_dir / "audit.jsonl", Head(*head) if head else None)
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"cannot open the records in state_dir {state_dir}: {error}") from error
