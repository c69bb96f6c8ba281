"""``python -m taskward.signer --config FILE``.

Exits 0 after SIGTERM or SIGINT, 78 when the configuration or the audit log needs attention.
"""

import argparse
import fcntl
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from flask import Flask
from gunicorn.app.base import BaseApplication

from taskward.signer.app import create_app
from taskward.signer.audit import AuditLog, BrokenChainError, Head
from taskward.signer.certifier import Certifier
from taskward.signer.confine import drop_privileges
from taskward.signer.content import ContentCheck
from taskward.signer.keys import Keyholder, PublicKeys
from taskward.signer.metrics import Metrics
from taskward.signer.rate import RateLimit
from taskward.signer.sections import SettingsError
from taskward.signer.settings import SignerSettings
from taskward.signer.sockets import listening
from taskward.signer.store import Store
from taskward.signer.taskcluster import Taskcluster

_EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
_THREADS = 8
_CONNECTIONS = 100
_GRACE_S = 30


def build(settings: SignerSettings) -> Flask:
    """The application with its records opened; raises like `open_records`."""
    store, audit = open_records(settings.state_dir)
    taskcluster = Taskcluster(settings.root_url, settings.credentials)
    content = ContentCheck(taskcluster, settings.root_url, settings.artifact_hosts)
    certifier = Certifier(
        settings=settings,
        taskcluster=taskcluster,
        keyholder=Keyholder(settings.keyholder_socket),
        public_keys=PublicKeys(settings.public_keys_dir),
        store=store,
        audit=audit,
        metrics=Metrics(),
        content=content if settings.verifies_artifacts else None,
    )
    return create_app(certifier, RateLimit(settings.rate_per_minute))


def open_records(state_dir: Path) -> tuple[Store, AuditLog]:
    """``signer.sqlite`` and ``audit.jsonl`` of the state directory, the log checked against the store.

    Raises `BrokenChainError` when the log was tampered with.
    """
    store = Store(state_dir / "signer.sqlite", time.time())
    head = store.head()
    return store, AuditLog(state_dir / "audit.jsonl", Head(*head) if head else None)


def _hold(directory: Path) -> None:
    """Make this the only signer with these records, until the process ends."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SettingsError(f"{directory} is in use by another signer; stop that one first") from None


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Builds the application in the worker process: neither SQLite nor locks survive a fork."""

    def __init__(self, settings: SignerSettings, descriptor: int) -> None:
        self._settings = settings
        self._options: dict[str, Any] = {
            "bind": f"fd://{descriptor}",
            "worker_class": "gthread",
            "workers": 1,  # the records have one owner
            "threads": _THREADS,
            "worker_connections": _CONNECTIONS,
            "keepalive": 0,  # one request a connection: a refused body is never read
            "control_socket_disable": True,
            "graceful_timeout": _GRACE_S,
            "forwarded_allow_ips": "",
            "proc_name": "taskward-signer",
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:  # a Flask, which gunicorn's own types do not take for a WSGI application
        return build(self._settings)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def main() -> int:
    """Open the records, then serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m taskward.signer", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the worker's TOML file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _end)  # until gunicorn has its own
    try:
        settings = SignerSettings.read(arguments.config)
        if not settings.allowed_uids:
            logging.warning("allowed_users is empty: everybody is refused")
        for missing in drop_privileges():
            logging.warning("not available here: %s", missing)
        _hold(settings.state_dir)
        for record in open_records(settings.state_dir):
            record.close()
        with listening(settings.socket, settings.socket_mode, settings.socket_gid) as listener:
            _Server(settings, listener.detach()).run()
    except (SettingsError, BrokenChainError) as error:
        print(f"signer: {error}", file=sys.stderr)  # noqa: T201
        return _EXIT_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
