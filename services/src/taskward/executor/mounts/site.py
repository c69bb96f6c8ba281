"""What the making of one task's mounts shares: the task, who works with its rights, and the limits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from taskward.executor import account, processes, spawn
from taskward.executor.engine import Identity
from taskward.executor.errors import EngineFailed, MalformedPayload
from taskward.executor.mounts import fetch, kernel, unpack
from taskward.executor.mounts.errands import Errands, serve
from taskward.executor.mounts.porter import porter
from taskward.executor.peer import Peer
from taskward.executor.task import Task

_SLACK_S: Final = 60.0
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Site:
    """One task's; a context manager, since processes belong to it."""

    def __init__(self, task: Task) -> None:
        if task.watch is None:
            raise EngineFailed("mounts are made while the task is watched only")
        self.task, self.watch, self._settings = task, task.watch, task.settings.executor
        self.identity = task.engine.identity
        self.peer = Peer(task)
        self._porter: Errands | None = None
        self._maps_owners: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        """The porter ends; the task's own way to the proxy stays if it asked for one."""
        if self._porter is not None:
            self._porter.close()
        if "taskclusterProxy" not in self.task.payload.features:
            self.peer.give_back()

    @property
    def porter(self) -> Errands:
        """The process that works with the rights of the task's user."""
        if self._porter is None:
            settings = self._settings
            limits = fetch.Limits(settings.max_download_bytes, float(settings.mount_timeout_s))
            serving = porter(str(self.identity.home), self._ca(), limits)
            self._porter = Errands(self.task.engine.as_task(serving), self.watch.wait)
        return self._porter

    def api(self, service: str, *path: str) -> str:
        """The URL of a call of Taskcluster with the task's scopes.

        Raises:
            MalformedPayload: this worker has no proxy.
        """
        url = self.peer.url()
        if url is None:
            raise MalformedPayload("[mounts] content of artifacts needs a proxy, which is not enabled on this worker")
        return f"{url}/api/{service}/v1/{'/'.join(quote(part, safe='/') for part in path)}"

    def say(self, text: str) -> None:
        """A line of the task's log."""
        self.task.log.info(f"[mounts] {text}")

    def warn(self, text: str) -> None:
        """A line of the task's log that asks for attention."""
        self.task.log.warn(f"[mounts] {text}")

    def unpacking(self, form: str) -> dict[str, Any]:
        """Arguments of the errands that unpack."""
        settings = self._settings
        limits = unpack.Limits(
            settings.max_unpacked_bytes, settings.max_archive_ratio, settings.max_unpacked_entries,
            float(settings.mount_timeout_s),
        )  # fmt: skip
        return {"format": form, "limits": asdict(limits)}

    def unpack_as(self, uid: int, source: int, sha256: str, form: str, target: int) -> None:
        """An archive into an open directory that is `uid`'s, by processes of that user, which nobody else is.

        Raises:
            MountFailed: the archive is bad, or too large.
            TaskEnded: the run must stop; but for the task's own user, nothing works on the directory any more.
        """
        if uid == self.identity.uid:
            self.porter.ask("unpack", source, target, sha256=sha256, **self.unpacking(form))
            return
        rights = spawn.Rights(Identity(str(uid), uid, uid, self.identity.home), True, "", (), 0)
        longest_s = self._settings.mount_timeout_s + _SLACK_S
        connection = spawn.call(rights, serve({"unpack": unpack.unpack}, longest_s))
        try:
            with Errands(connection, self.watch.wait) as errands:
                errands.ask("unpack", source, target, sha256=sha256, **self.unpacking(form))
        finally:
            processes.kill_user(uid, uid)

    def new_uid(self) -> int:
        """The owner of something new: nobody else's where mounts can show it as the task's, else the task's."""
        if not self.can_map_owners():
            return self.identity.uid
        return account.unused_uid(self.task.layout.state_dir / "locks" / "accounts")

    @property
    def shown_uid(self) -> int:
        """Who the owner of mounted directories seems to be: whoever the commands run as."""
        as_worker = "runTaskAsCurrentUser" in self.task.payload.features
        return os.geteuid() if as_worker else self.identity.uid

    def can_map_owners(self) -> bool:
        """Whether what is on the shelves can have owners of its own."""
        if self._maps_owners is None:
            self._maps_owners = self.task.engine.isolated and kernel.can_map_owners(self.task.layout.state_dir)
        return self._maps_owners

    def _ca(self) -> str:
        """Certificates of the deployment, which the task's user may be unable to read."""
        path = self.task.settings.taskcluster.ca_file
        return "" if path is None else path.read_text()


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    """A descriptor of a directory of ours."""
    fd = os.open(directory, _DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
