"""Everything that outlives a task because of mounts: four shelves, kept in order and within the disk's room."""

import logging
from collections.abc import Iterator
from pathlib import Path

from taskward.core.outcome import exception
from taskward.executor.errors import TaskEnded
from taskward.executor.mounts import table
from taskward.executor.mounts.shelf import Item, Shelf
from taskward.executor.room import Need

_logger = logging.getLogger(__name__)


class Store:
    """Below one state directory: ``downloads/``, ``unpacked/``, ``caches/``, ``container-caches/``."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.downloads = Shelf(state_dir / "downloads")
        self.unpacked = Shelf(state_dir / "unpacked")
        self.caches = Shelf(state_dir / "caches")
        self.container_caches = Shelf(state_dir / "container-caches")
        self._shelves = (self.downloads, self.unpacked, self.caches, self.container_caches)

    def sweep(self) -> None:
        """Throws away what nobody finished or gave back, and deletes what was thrown away."""
        for shelf in self._shelves:
            for name in shelf.ids():
                item = shelf.take(name)
                if item is not None:
                    if item.in_use or item.to_be_purged or item.facts is None:
                        _discard(item)
                    item.close()
            shelf.empty_trash()

    def make_room(self, need: Need, most_of_a_name: int) -> None:
        """Deletes what was used longest ago, downloads first and caches last, until so much is free.

        Args:
            need: what a task must find.
            most_of_a_name: how many caches of one name are kept that nobody uses.

        Raises:
            TaskEnded: nothing is left to delete, and it is still not enough.
        """
        self._trim(most_of_a_name)
        if not need.shortage(self._state_dir):
            return
        for shelf in self._shelves:
            shelf.empty_trash()
            for item in _oldest_first(shelf):
                if not need.shortage(self._state_dir):
                    item.close()
                    return
                _logger.info("making room", extra={"path": str(item.directory)})
                _discard(item)
                shelf.empty_trash()
        if lack := need.shortage(self._state_dir):
            text = (
                f"not able to free up enough disk space - require {lack.least} {lack.unit}, but only have {lack.free} "
                f"{lack.unit} - and nothing left to delete"
            )
            raise TaskEnded(exception("resource-unavailable", text))

    def _trim(self, most: int) -> None:
        for shelf in (self.caches, self.container_caches):
            names: dict[str, list[tuple[float, str]]] = {}
            for name, facts in shelf.listing():
                names.setdefault(facts.key, []).append((facts.last_used_s, name))
            for known in names.values():
                for _, name in sorted(known, reverse=True)[most:]:
                    item = shelf.take(name)
                    if item is not None:
                        _discard(item)


def _oldest_first(shelf: Shelf) -> Iterator[Item]:
    """What nobody uses now, locked."""
    for _, name in sorted((facts.last_used_s, name) for name, facts in shelf.listing()):
        item = shelf.take(name)
        if item is not None:
            yield item


def _discard(item: Item) -> None:
    """Nothing may show it while it is deleted."""
    try:
        table.detach_content(item.id)
    except OSError as error:
        _logger.warning("a mount of a dead task cannot be taken away", extra={"item": item.id, "reason": str(error)})
        item.close()
        return
    item.discard()
