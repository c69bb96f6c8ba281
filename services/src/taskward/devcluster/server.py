"""The gunicorn server around the application."""

import ctypes
import fcntl
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from taskward.devcluster.app import create_app
from taskward.devcluster.clients import ROOT_CLIENT_ID
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.errors import DevclusterError
from taskward.devcluster.patience import PatientWorker
from taskward.devcluster.settings import Settings

_FILE_NAME = "devcluster.json"
_BACKLOG = 1024
_PR_SET_PDEATHSIG = 1


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    ``devcluster.json`` in the state folder appears when calls are answered: mode 0600, with
    ``rootUrl``, ``clientId`` and ``accessToken``. Raises ``DevclusterError`` when another process uses
    the state folder or the port.
    """
    # The database holds tokens and secrets.
    os.umask(0o077)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with _exclusive(settings.state_dir):
        listener = _listen(settings, _last_port(settings.state_dir))
        (settings.state_dir / _FILE_NAME).unlink(missing_ok=True)
        port = listener.getsockname()[1]
        root_url = settings.root_url or f"http://{_bracketed(settings.host)}:{port}"
        _Server(settings, root_url.rstrip("/"), listener).run()


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """One worker process with threads; everything is made in that process."""

    def __init__(self, settings: Settings, root_url: str, listener: socket.socket) -> None:
        self._settings = settings
        self._root_url = root_url
        self._listener = listener
        super().__init__()

    def load_config(self) -> None:
        choices = {
            "bind": f"fd://{self._listener.detach()}",
            "worker_class": PatientWorker,
            "workers": 1,
            "threads": self._settings.threads,
            "worker_connections": self._settings.threads + 1000,
            "keepalive": 75,
            "timeout": 0,
            "graceful_timeout": 2,
            "accesslog": None,
            "loglevel": "warning",
            "control_socket_disable": True,
            "umask": 0o077,
            "proc_name": "taskward-devcluster",
            "limit_request_line": 8190,
            "post_fork": _die_with_parent,
            "post_worker_init": self._announce,
        }
        for name, value in choices.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        self._cluster = Cluster(self._settings, self._root_url)
        self._cluster.resolver.start(self._settings.resolver_poll_s)
        return create_app(self._cluster)

    def _announce(self, _worker: Any) -> None:
        content = {
            "rootUrl": self._root_url,
            "clientId": ROOT_CLIENT_ID,
            "accessToken": self._cluster.clients.load(ROOT_CLIENT_ID).access_token,
        }
        _write_private(self._settings.state_dir / _FILE_NAME, json.dumps(content, indent=2) + "\n")


def _die_with_parent(_arbiter: Any, _worker: Any) -> None:
    """Let no worker live on, holding the port, when its parent is killed."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _exclusive(state_dir: Path) -> Iterator[None]:
    """Hold the state folder for this process and its children."""
    with (state_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DevclusterError(f"{state_dir} is in use by another devcluster: stop that one") from None
        yield


def _listen(settings: Settings, last_port: int) -> socket.socket:
    """Return a listening socket, if the port is free to choose on that of the last start."""
    wanted = [settings.port] if settings.port else [last_port, 0] if last_port else [0]
    for port in wanted:
        listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, port))
        except OSError as error:
            listener.close()
            if port == wanted[-1]:
                raise DevclusterError(
                    f"cannot listen on {settings.host} port {port}: {error.strerror}; choose another --port"
                ) from error
            continue
        listener.listen(_BACKLOG)
        return listener
    raise AssertionError("unreachable: the last port either binds or raises")


def _last_port(state_dir: Path) -> int:
    try:
        root_url = json.loads((state_dir / _FILE_NAME).read_text())["rootUrl"]
        return int(str(root_url).rpartition(":")[2])
    except (OSError, ValueError, KeyError):
        return 0


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _write_private(path: Path, content: str) -> None:
    """Replace a file at once, readable by its owner only."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    draft.rename(path)
