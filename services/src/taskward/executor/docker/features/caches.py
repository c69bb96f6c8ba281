"""Directories that one container after the other gets, as the one before left them.

They lie on a shelf of their own, since their files belong to whoever wrote them in the container. A container has a
cache for itself; a second one that wants the same name gets another instance. What an aborted run, or one whose process
died, has written is thrown away. A run whose container never started has written nothing.
"""

import time

from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.outfit import Bind
from taskward.executor.mounts.caches import newest
from taskward.executor.mounts.purges import Purges
from taskward.executor.mounts.shelf import Facts, Item, Shelf
from taskward.executor.mounts.site import Site
from taskward.executor.mounts.store import Store
from taskward.executor.task import Task


class ContainerCaches(ContainerFeature):
    """``payload.cache``."""

    name = "Caches"

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._used: list[tuple[str, Item]] = []

    def requested(self) -> bool:
        """When there are any."""
        return bool(self.wanted.caches)

    def start(self) -> None:
        """Takes or makes them, after what is to be purged is gone."""
        shelf = Store(self.task.layout.state_dir).container_caches.prepare()
        site = Site(self.task)
        with site:
            Purges(site, shelf).carry_out(has_cache=True)
        for name, place in self.wanted.caches.items():
            item = newest(shelf, name) or _new(shelf, name)
            self._used.append((name, item))
            item.begin_use()
            self.engine.outfit.binds.append(Bind(item.content, place))

    def stop(self) -> None:
        """Keeps them for the next, or not."""
        why = self._spoiled()
        for name, item in self._used:
            if why or item.to_be_purged:
                self.task.log.info(f'cache "{name}" is not kept: {why or "it is to be purged"}')
                item.discard()
            else:
                item.end_use()
                item.close()
        self._used = []

    def _spoiled(self) -> str:
        """Why they are not to be kept; empty when they are."""
        task = self.task
        if not self.engine.may_have_run:
            return ""
        if task.aborted:
            return "the task did not end by itself"
        if task.last_exit_code is None:
            return "nobody knows how the task ended"
        if task.last_exit_code in task.payload.purge_codes:
            return f"exit code {task.last_exit_code} is in task.payload.onExitStatus.purgeCaches"
        return ""


def _new(shelf: Shelf, name: str) -> Item:
    item, now = shelf.create(), time.time()
    item.content.mkdir()
    item.content.chmod(0o755)  # as docker-worker's: users of the container other than root may look in
    item.complete(Facts(name, now, now))
    return item
