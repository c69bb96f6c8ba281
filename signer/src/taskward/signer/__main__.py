"""``python -m taskward.signer --config FILE``.

Exits 0 after SIGTERM or SIGINT, 78 when the configuration or the audit log needs attention.
"""

import logging
import signal
import socket
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from taskward.signer import tls
from taskward.signer.assembly import build
from taskward.signer.confine import drop_privileges
from taskward.signer.door import SocketDoor, TlsDoor
from taskward.signer.process import give_up, run
from taskward.signer.records import hold, open_records
from taskward.signer.settings import SignerSettings
from taskward.signer.sockets import listening

_THREADS = 8
_CONNECTIONS = 1000  # never reached: `worker.SignerWorker` has room for fewer
_GRACE_S = 30
_log = logging.getLogger("signer")

_Logger: Any = Logger  # gunicorn has no types


class _ServerLog(_Logger):  # type: ignore[misc]  # see above
    """gunicorn's messages in our log."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def _forked(_arbiter: object, _worker: object) -> None:
    """The worker has the arbiter's handler until it sets its own, which would lose a SIGTERM: 30 s until the end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Builds the application in the worker process: neither SQLite nor locks survive a fork."""

    def __init__(self, settings: SignerSettings, descriptor: int) -> None:
        self.settings = settings
        self._options: dict[str, Any] = {
            "bind": f"fd://{descriptor}",
            "worker_class": "taskward.signer.worker.SignerWorker",
            "workers": 1,  # the records have one owner
            "threads": _THREADS,
            "worker_connections": _CONNECTIONS,
            "keepalive": 0,  # one request a connection: a refused body is never read
            "control_socket_disable": True,
            "graceful_timeout": _GRACE_S,
            "forwarded_allow_ips": "",
            "proc_name": "taskward-signer",
            "post_fork": _forked,
            "logger_class": _ServerLog,
            "loglevel": "warning",  # where it listens we know better: it takes our TLS for none
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:  # a Flask, which gunicorn's own types do not take for a WSGI application
        return build(self.settings)


def _door(door: SocketDoor | TlsDoor) -> AbstractContextManager[socket.socket]:
    return tls.listening(door) if isinstance(door, TlsDoor) else listening(door)


def main() -> int:
    """Open the records, then serve until a signal."""
    return run("taskward.signer", __doc__, _serve)


def _serve(config: Path) -> None:
    settings = SignerSettings.read(config)
    give_up(drop_privileges)
    hold(settings.state_dir)
    for record in open_records(settings.state_dir):
        record.close()
    with _door(settings.door) as listener:
        _log.info("listening at %s", settings.door)
        _Server(settings, listener.detach()).run()


if __name__ == "__main__":
    sys.exit(main())
