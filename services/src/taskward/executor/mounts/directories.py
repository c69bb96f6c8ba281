"""Read-only directories: unpacked once, by a user of their own, and shown to every task that mounts the same archive.

Where mounts cannot show another owner, each task unpacks for itself. Where nothing can be mounted (the worker is not
root), or the place is not empty, the archive is unpacked right there, and the task may write to it, as under
generic-worker.
"""

import os
import time
from typing import Final

from taskward.executor.mounts.content import extract, new_content, show
from taskward.executor.mounts.downloads import Downloads, Fetched
from taskward.executor.mounts.request import ReadOnlyDirectory
from taskward.executor.mounts.shelf import Facts, Item, Shelf, id_of
from taskward.executor.mounts.site import Site

_PAUSE_S: Final = 0.1


class Directories:
    """For one task."""

    def __init__(self, site: Site, shelf: Shelf, downloads: Downloads) -> None:
        self._site, self._shelf, self._downloads = site, shelf.prepare(), downloads

    def mount(self, request: ReadOnlyDirectory, place: str) -> Item | None:
        """Makes it; what is returned is in use until the task has ended.

        Raises:
            MountFailed: it cannot be had.
            EngineFailed: this machine cannot mount.
        """
        answer, (target,) = self._site.porter.ask("directory", place=place)
        try:
            with self._downloads.get(request.content) as archive:
                isolated, is_home = self._site.task.engine.isolated, place == str(self._site.identity.home)
                if isolated and answer["empty"] and not is_home:
                    return self._show(request, archive, place, target)
                if isolated and not is_home:
                    self._site.warn(f"{place} is not empty: what is unpacked into it can be written to by the task")
                extract(self._site, archive, request.format, place, self._site.identity.uid, target)
                return None
        finally:
            os.close(target)

    def _show(self, request: ReadOnlyDirectory, archive: Fetched, place: str, target: int) -> Item:
        item = self._unpacked(request, archive, place)
        try:
            show(self._site, item, target, place, read_only=True)
        except BaseException:
            item.close()
            raise
        return item

    def _unpacked(self, request: ReadOnlyDirectory, archive: Fetched, place: str) -> Item:
        if not self._site.can_map_owners():
            return self._unpack(self._shelf.create(), request, archive, place)
        name = id_of(f"{request.format}:{archive.sha256}")
        waiting = False
        while True:
            item = self._shelf.take(name, shared=True)
            if item is not None and item.facts is not None:
                self._site.say(f"Found existing directory unpacked from {archive.place}")
                item.touch()
                return item
            if item is not None:
                item.close()
            item = self._shelf.take(name, make=True)
            if item is not None and item.facts is None:
                return self._unpack(item, request, archive, place)
            if item is not None:
                item.close()
            elif not waiting:
                waiting = True
                self._site.say(f"Waiting for another task that is unpacking {archive.place}")
            self._site.watch.check()
            time.sleep(_PAUSE_S)

    def _unpack(self, item: Item, request: ReadOnlyDirectory, archive: Fetched, place: str) -> Item:
        try:
            uid = self._site.new_uid()
            with new_content(item, uid) as target:
                extract(self._site, archive, request.format, place, uid, target)
            now = time.time()
            item.complete(Facts(str(request.content), now, now, sha256=archive.sha256, uid=uid))
            item.share()
        except BaseException:
            item.discard()
            raise
        return item
