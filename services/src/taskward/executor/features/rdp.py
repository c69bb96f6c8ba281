"""A desktop in the task for whoever may read the artifact that ``payload.rdpInfo`` names; see `executor.rdp`.

After the commands the task's processes end, the artifacts are collected and the run is resolved as always. Then its
user and directory are kept for `[executor] rdp_retention_s`, with a new desktop at the same place, so that a person can
look for what went wrong; meanwhile this executor takes no other task.
"""

import logging
import socket
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from taskward.core.clock import format_time
from taskward.core.outbox import Entry, read_early, write_early
from taskward.core.retention import Retention
from taskward.core.settings import Settings
from taskward.executor.environment import environment_of
from taskward.executor.errors import CommandNotStarted, EngineFailed, MalformedPayload
from taskward.executor.features.feature import Feature
from taskward.executor.features.own_file import OwnFile
from taskward.executor.names import refusal
from taskward.executor.native import NativeEngine
from taskward.executor.rdp.certificate import Certificate
from taskward.executor.rdp.credentials import Access, new_password
from taskward.executor.rdp.desktop import Desktop, Running, missing_servers
from taskward.executor.rdp.relay import listen
from taskward.executor.rdp.site import Site
from taskward.executor.task import Task

_FILE: Final = "rdp-info.json"
_PUBLIC: Final = "public/"
_EXPIRES_AFTER: Final = timedelta(hours=24)
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - to recognize it, not to bind it

_logger = logging.getLogger(__name__)


class RdpInfo(Feature):
    """``payload.rdpInfo``."""

    name = "RDP"
    switch = "enable_rdp"

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._desktop: Desktop | None = None
        self._running: Running | None = None
        self._retention: Retention | None = None

    def requested(self) -> bool:
        """When there is a name."""
        return bool(self.task.payload.rdp_info)

    def scopes(self) -> Sequence[str]:
        """For this worker pool."""
        return (f"generic-worker:allow-rdp:{self.task.settings.worker.task_queue_id}",)

    def reserved(self) -> Sequence[str]:
        """The artifact's name."""
        return (self.task.payload.rdp_info,)

    def flaws(self) -> Iterator[str]:
        """A name that the queue cannot bear, or a session that would be root's."""
        payload = self.task.payload
        if why := refusal(payload.rdp_info):
            yield f"payload.rdpInfo: no artifact can be named {payload.rdp_info!r}: {why}"
        if "runTaskAsCurrentUser" in payload.features:
            yield "payload.rdpInfo cannot go with feature runTaskAsCurrentUser: the desktop would be the worker's own"

    def start(self) -> None:
        """Servers, then the artifact, which is published at once; commands find the desktop by ``DISPLAY``."""
        task, identity = self.task, self.task.engine.identity
        self._refuse_unfit_worker()
        settings = task.settings.executor
        try:
            door = listen(settings.rdp_address, settings.rdp_first_port, task.settings.worker.capacity)
            inner = listen("127.0.0.1", 0, 1)
        except OSError as error:
            raise EngineFailed(f"no port for a remote desktop at {settings.rdp_address}: {error.strerror}") from error
        host, password, title = public_host(task.settings), new_password(), f"Task {task.run}"
        keeps = timedelta(seconds=task.payload.max_run_time_s + settings.rdp_retention_s)
        certificate = Certificate.make(host, task.clock(), keeps)
        vnc_port = inner.getsockname()[1]
        site = Site.make(
            task.layout.desktop(task.run), identity.gid, password, certificate, vnc_port, title,
            clipboard=settings.rdp_clipboard,
        )  # fmt: skip
        self._desktop = Desktop(task.engine, site, title, door, inner)
        task.keeps_files = settings.rdp_retention_s > 0
        self._open(self._desktop)
        self._publish(Access(host, door.getsockname()[1], identity.user, password, certificate.sha256))

    def close(self) -> None:
        """Nobody comes in any more; the servers end with the task's other processes."""
        if self._running is not None:
            self._running.relay.close()
            self._running = None

    def stop(self) -> None:
        """The artifact is one of the run's; from now on nobody else may clear the run away, if it is to be kept."""
        task = self.task
        if entry := read_early(task.layout.outbox(task.run)):
            task.entries.insert(0, entry)
        if self._desktop is None or not entry or not self._deserves_retention():
            return
        until = task.clock() + timedelta(seconds=task.settings.executor.rdp_retention_s)
        self._retention = Retention.begin(task.layout, task.run, until)
        task.log.info(f"The task's user and directory are kept until {format_time(until)} for investigation by RDP")

    def retain(self) -> None:
        """A new desktop until the time is over, its X server has ended, or the worker stops."""
        task = self.task
        if self._retention is None or self._desktop is None or task.watch is None:
            return
        try:
            self._native_engine().revive()
            self._open(self._desktop)
            if self._running is not None:
                server = self._running.server.fileno()
                task.watch.linger({server}, task.settings.executor.rdp_retention_s)
        finally:
            self.close()
            self._retention.release()

    def _open(self, desktop: Desktop) -> None:
        task = self.task
        self._running = desktop.start()
        task.environment |= {"DISPLAY": self._running.display, "XAUTHORITY": str(desktop.site.authority)}
        try:
            desktop.open_session(task.settings.executor.rdp_session, environment_of(task))
        except CommandNotStarted as error:
            _logger.warning("the desktop is empty", extra={"run": task.run.key, "reason": str(error)})

    def _native_engine(self) -> NativeEngine:
        if not isinstance(self.task.engine, NativeEngine):
            raise EngineFailed(f"the engine {self.task.engine.name} has no desktops")
        return self.task.engine

    def _refuse_unfit_worker(self) -> None:
        if missing := missing_servers():
            raise MalformedPayload(
                "This task requires feature RDP (payload.rdpInfo), which this worker cannot provide: it lacks "
                f"{', '.join(missing)}. Create the task for a worker pool that has them, or install them on this one"
            )
        if not self._native_engine().isolated:
            raise MalformedPayload(
                "This task requires feature RDP (payload.rdpInfo), which this worker cannot provide: it does not run "
                "as root, so the desktop would be the worker's own. Create the task for another worker pool"
            )

    def _deserves_retention(self) -> bool:
        """Not when the queue or the worker ended the run, or something else than its commands went wrong."""
        outcome = self.task.outcome
        return self.task.keeps_files and (outcome is None or outcome.state != "exception")

    def _publish(self, access: Access) -> None:
        task, document = self.task, access.document()
        artifact = OwnFile(task.payload.rdp_info, _FILE, "application/json")
        artifact.write(task, document)
        expires = format_time(min(task.clock() + _EXPIRES_AFTER, task.expires))
        write_early(
            task.layout.outbox(task.run),
            Entry(artifact.name, _FILE, len(document), artifact.content_type, "gzip", expires),
        )
        task.records.publish(task.run)
        task.log.info(f"The task's desktop can be entered by RDP, as artifact {artifact.name} says")
        if artifact.name.startswith(_PUBLIC):
            task.log.warn(
                f"Artifact {artifact.name} is public: everybody can log in to this task. Choose a name in "
                "payload.rdpInfo that only the right people may read, as login-identity/<login-identity>/rdpInfo.json"
            )


def public_host(settings: Settings) -> str:
    """Where clients find this worker's desktops."""
    address = settings.executor.rdp_address
    elsewhere = settings.environment.public_ip_address or socket.gethostname()
    return settings.executor.rdp_public_host or (elsewhere if address in _EVERYWHERE else address)
