"""Files, directories and caches that the payload wants in the task directory."""

from collections.abc import Iterator, Sequence
from typing import Final

from taskward.executor.errors import EngineFailed
from taskward.executor.features.feature import Feature
from taskward.executor.mounts import request, table
from taskward.executor.mounts.caches import Caches, Used, give_back
from taskward.executor.mounts.directories import Directories
from taskward.executor.mounts.downloads import Downloads
from taskward.executor.mounts.errors import MountFailed
from taskward.executor.mounts.purges import Purges
from taskward.executor.mounts.request import ArtifactContent, FileMount, Mount, ReadOnlyDirectory, WritableCache
from taskward.executor.mounts.shelf import Item
from taskward.executor.mounts.site import Site
from taskward.executor.mounts.store import Store
from taskward.executor.peer import Peer
from taskward.executor.task import Task

_ABORTED: Final = "Purging caches since the task was aborted"


class Mounts(Feature):
    """``payload.mounts``."""

    name = "Mounts/Caches"
    switch = "enable_mounts"

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._caches: list[Used] = []
        self._directories: list[Item] = []

    def requested(self) -> bool:
        """When there are any."""
        return bool(self.task.payload.mounts)

    def scopes(self) -> Sequence[str]:
        """One for each cache; those for private artifacts are for the queue to check."""
        return [mount.scope for mount in self.task.payload.mounts if isinstance(mount, WritableCache)]

    def flaws(self) -> Iterator[str]:
        """Artifacts of tasks that this one does not depend on."""
        task = self.task
        for task_id in dict.fromkeys(each.task_id for each in map(_artifact, task.payload.mounts) if each is not None):
            if task_id not in task.definition.get("dependencies", ()):
                yield (
                    f"[mounts] task.dependencies needs to include {task_id} since one or more of its artifacts "
                    "are mounted"
                )

    def start(self) -> None:
        """In the order of the payload."""
        with Site(self.task) as site:
            places = self._places(site)
            store = Store(self.task.layout.state_dir)
            Purges(site, store.caches).carry_out(has_cache=bool(self.scopes()))
            downloads = Downloads(site, store.downloads)
            caches = Caches(site, store.caches, downloads)
            directories = Directories(site, store.unpacked, downloads)
            for mount, place in zip(self.task.payload.mounts, places, strict=True):
                match mount:
                    case WritableCache():
                        self._caches.append(caches.mount(mount, place))
                    case ReadOnlyDirectory():
                        if item := directories.mount(mount, place):
                            self._directories.append(item)
                    case FileMount():
                        _file(site, downloads, mount, place)

    def stop(self) -> None:
        """Takes everything back; caches of a run that was aborted, or whose process died, are thrown away.

        Raises:
            EngineFailed: something cannot be unmounted; nothing of it is used again.
        """
        task = self.task
        if "taskclusterProxy" not in task.payload.features:
            Peer(task).give_back()
        try:
            table.detach_below(task.layout.task_directory(task.run))
            for item in (*(used.item for used in self._caches), *self._directories):
                table.detach_content(item.id)
        except OSError as error:
            raise EngineFailed(f"the task's mounts cannot be taken away: {error.strerror}") from error
        for item in self._directories:
            self._release(item)
        purge = self._purge()
        for used in reversed(self._caches):
            give_back(task, used, purge)
        self._directories, self._caches = [], []

    def _release(self, item: Item) -> None:
        """What was unpacked for this task alone goes with it."""
        facts = item.facts
        if facts is None or facts.uid == self.task.engine.identity.uid:
            item.discard()
        item.close()

    def _purge(self) -> bool:
        """Whether the caches are not to be kept."""
        task = self.task
        if not self._caches:
            return False
        if task.aborted:
            task.log.info(f"[mounts] {_ABORTED}")
            return True
        broken = task.outcome is not None and task.outcome.reason == "internal-error"
        return broken or task.last_exit_code in task.payload.purge_codes

    def _places(self, site: Site) -> list[str]:
        """Absolute paths, in the order of the payload.

        Raises:
            MountFailed: two mounts want the same.
        """
        places = [request.place(mount, str(site.identity.home)) for mount in self.task.payload.mounts]
        for number, place in enumerate(places):
            if place in places[:number]:
                raise MountFailed(f"two mounts want the same place: {place}")
        return places


def _artifact(mount: Mount) -> ArtifactContent | None:
    return mount.content if isinstance(mount.content, ArtifactContent) else None


def _file(site: Site, downloads: Downloads, mount: FileMount, place: str) -> None:
    with downloads.get(mount.content) as content:
        if mount.format:
            site.say(f"Decompressing {mount.format} file {content.place} to '{place}'")
        else:
            site.say(f"Copying file '{content.place}' to '{place}'")
        site.porter.ask("file", content.fd, place=place, source=content.place, **site.unpacking(mount.format))
