"""``python -m taskward.signer --config FILE``.

Exits 0 after SIGTERM or SIGINT, 78 when the configuration or the audit log needs attention.
"""

import argparse
import logging
import os
import signal
import socket
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from gunicorn.app.base import BaseApplication

from taskward.signer import tls
from taskward.signer.assembly import build
from taskward.signer.audit import BrokenChainError
from taskward.signer.confine import drop_privileges
from taskward.signer.records import hold, open_records
from taskward.signer.sections import SettingsError
from taskward.signer.settings import SignerSettings
from taskward.signer.sockets import listening

_EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
_THREADS = 8
_CONNECTIONS = 100
_GRACE_S = 30


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
        if settings.tls:
            self._options |= tls.options(settings.tls)
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:  # a Flask, which gunicorn's own types do not take for a WSGI application
        return build(self._settings)


def _door(settings: SignerSettings) -> AbstractContextManager[socket.socket]:
    if settings.tls:
        return tls.listening(settings.tls)
    assert settings.socket is not None  # noqa: S101 - the settings have one or the other
    return listening(settings.socket, settings.socket_mode, settings.socket_gid)


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
        if not (settings.allowed_clients if settings.tls else settings.allowed_uids):
            logging.warning("allowed_users or allowed_clients is empty: everybody is refused")
        for missing in drop_privileges():
            logging.warning("not available here: %s", missing)
        hold(settings.state_dir)
        for record in open_records(settings.state_dir):
            record.close()
        with _door(settings) as listener:
            _Server(settings, listener.detach()).run()
    except (SettingsError, BrokenChainError) as error:
        print(f"signer: {error}", file=sys.stderr)  # noqa: T201
        return _EXIT_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
