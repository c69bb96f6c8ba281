"""Removes images that this worker has brought, and no others."""

import logging
import os
import time
from dataclasses import replace
from typing import Final

from taskward.executor.docker.daemon import DaemonRefused
from taskward.executor.docker.images.library import Library
from taskward.executor.docker.images.record import Brought
from taskward.executor.mounts.shelf import Item, Shelf

_CONFLICT: Final = 409
_NOT_FOUND: Final = 404

_logger = logging.getLogger(__name__)


class Removal:
    """One pass over all that was brought."""

    def __init__(self, library: Library, shelf: Shelf) -> None:
        self._library, self._shelf = library, shelf
        self._kept: set[str] = set()

    def run(self, expire_after_s: float, required_bytes: int) -> None:
        """Removes what was not used for so long, then more, longest unused first, until so much is free.

        Raises:
            EngineFailed: the daemon is gone.
        """
        unused = sorted(self._unused(), key=lambda each: each[0])
        now = time.time()
        try:
            while unused:
                last_used_s, item, brought = unused.pop(0)
                self._remove_older(item, brought)
                if now - last_used_s >= expire_after_s or self._free_bytes() < required_bytes:
                    self._remove(item, brought, {each.name for *_, each in unused})
                item.close()
        finally:
            for _, item, _ in unused:
                item.close()
        self._shelf.empty_trash()

    def _unused(self) -> list[tuple[float, Item, Brought]]:
        """What no task is about to use, locked."""
        found = []
        for name in self._shelf.ids():
            item = self._shelf.take(name)
            brought = None if item is None else Brought.read(item)
            if item is None:
                self._keep(name)
            elif brought is None or item.facts is None:
                item.discard()
            else:
                found.append((item.facts.last_used_s, item, brought))
        return found

    def _keep(self, name: str) -> None:
        if item := self._shelf.take(name, shared=True):
            if brought := Brought.read(item):
                self._kept.add(brought.name)
            item.close()

    def _remove(self, item: Item, brought: Brought, others: set[str]) -> None:
        """Two artifacts with the same content are one image, which stays for the other."""
        facts = self._library.inspect(brought.name)
        if brought.name in self._kept | others:
            gone = True
        elif facts is not None and brought.id in ("", facts["Id"]):
            gone = self._delete(brought.name)
        else:  # somebody has given the name to another image
            gone = not brought.id or self._forget(brought.id)
        if gone:
            item.discard()

    def _remove_older(self, item: Item, brought: Brought) -> None:
        """What a tag meant before, unless somebody has given it another name."""
        left = tuple(each for each in brought.older if not self._forget(each))
        if left != brought.older:
            replace(brought, older=left).write(item)

    def _forget(self, image_id: str) -> bool:
        facts = self._library.inspect(image_id)
        return facts is None or bool(facts.get("RepoTags")) or self._delete(image_id)

    def _delete(self, name: str) -> bool:
        """Whether it is gone; the daemon refuses while a container uses it."""
        daemon = self._library.daemon
        try:
            with daemon.asking("remove an image"):
                daemon.api.remove_image(name)
        except DaemonRefused as error:
            if error.status != _CONFLICT:
                _logger.warning("image not removed", extra={"image": name, "reason": error.reason})
            return error.status == _NOT_FOUND
        _logger.info("image removed", extra={"image": name})
        return True

    def _free_bytes(self) -> int:
        """Where the daemon keeps images; where ours lie if that cannot be seen from here."""
        root = self._library.root_directory
        found = os.statvfs(root if root.is_dir() else self._shelf.directory)
        return found.f_bavail * found.f_frsize
