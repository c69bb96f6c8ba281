"""gunicorn, set up from the proxy's own settings: one process, because credentials live in one place."""

import resource
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from taskward.proxy import listener, store
from taskward.proxy.app import ProxyApp
from taskward.proxy.credentials import Vault
from taskward.proxy.forward import Forwarder
from taskward.proxy.gate import Gate
from taskward.proxy.head import MAX_HEAD_BYTES
from taskward.proxy.metrics import Metrics
from taskward.proxy.named.upstreams import Upstreams
from taskward.proxy.origin import Taskcluster
from taskward.proxy.settings import Settings
from taskward.proxy.upstream import Pool

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - for gunicorn's own heartbeat file (unlinked at once)
_MAX_CONNECTIONS: Final = 4096


_Application: Any = BaseApplication  # gunicorn has no types
_Logger: Any = Logger


class _ServerLog(_Logger):  # type: ignore[misc]  # see above
    """gunicorn's messages in our log."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class ProxyServer(_Application):  # type: ignore[misc]  # see above
    """Runs the proxy until SIGTERM (waits for requests in flight) or SIGQUIT (does not); SIGHUP replaces its worker.

    Everything that can be wrong with the settings shows in the constructor, as StartError: files that cannot be read,
    sockets that cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store = store.connect(settings)
        self._vault = Vault(self._store, settings.root_url)
        self._app = build_app(settings, self._store, self._vault)
        self._binds = [f"fd://{_inheritable(sock)}" for sock in _open_listeners(settings)]
        _allow_descriptors(2 * _MAX_CONNECTIONS)
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's settings (called by gunicorn)."""
        for name, value in self._gunicorn_settings().items():
            self.cfg.set(name, value)

    def load(self) -> ProxyApp:
        """The application; starts the thread that hears of new credentials (called by gunicorn in its worker)."""
        self._store.watch(self._vault.changed)
        self._app.upstreams.watch()
        return self._app

    def _gunicorn_settings(self) -> dict[str, Any]:
        return {
            "bind": self._binds,
            "worker_class": "taskward.proxy.worker.ProxyWorker",
            "workers": 1,
            "threads": self.settings.threads,
            "worker_connections": _MAX_CONNECTIONS,
            "keepalive": self.settings.keepalive_s,
            "timeout": 0,
            "graceful_timeout": 30,
            "control_socket_disable": True,
            "worker_tmp_dir": str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None,
            "proc_name": "taskward-proxy",
            "post_fork": _forked,
            "http_parser": "python",
            "limit_request_line": 0,  # `head` has counted already
            "limit_request_field_size": MAX_HEAD_BYTES,
            "permit_unconventional_http_method": True,  # any token; `app` knows which go on
            "forwarded_allow_ips": "*",  # none of its fields is used, and asking costs 7 % of the CPU
            "secure_scheme_headers": {},
            "forwarder_headers": "",
            "logger_class": _ServerLog,
            "loglevel": "error",
        }


def _forked(_arbiter: object, _worker: object) -> None:
    """The worker has the arbiter's handler until it sets its own, which would lose a SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def build_app(settings: Settings, redis: store.Store, vault: Vault) -> ProxyApp:
    """Put the parts together; nothing is connected and no thread started yet."""
    root = settings.root_url
    metrics = Metrics()
    metrics.gauge("runs", "Runs whose credentials are in memory.", lambda: len(vault))
    metrics.gauge("redis_away", "1 while Redis gives no answer.", lambda: float(redis.away))
    pool = Pool(root, settings.connect_timeout_s, settings.upstream_timeout_s, settings.ca_file)
    forwarder = Forwarder(Taskcluster(root, vault, pool), metrics, settings.retry_for_s)
    upstreams = Upstreams(settings, redis, vault, metrics)
    return ProxyApp(root, redis, Gate(redis), vault, forwarder, metrics, upstreams)


def _open_listeners(settings: Settings) -> list[socket.socket]:
    with ExitStack() as opened:
        shared = settings.container_port == settings.port
        interface = "" if shared else settings.interface
        listeners = [opened.enter_context(listener.task_listener(settings.port, interface))]
        if settings.container_port is not None and not shared:
            listeners.append(opened.enter_context(listener.task_listener(settings.container_port, "")))
        if settings.status_socket is not None:
            listeners.append(opened.enter_context(listener.status_listener(settings.status_socket)))
        opened.pop_all()  # all are open: keep them so
        return listeners


def _inheritable(sock: socket.socket) -> int:
    sock.set_inheritable(True)
    return sock.detach()


def _allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, ceiling), hard))
