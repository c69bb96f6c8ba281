"""Writable directory caches: a directory that one task after the other gets, as the one before left it.

Each has an owner of its own on disk and is mounted as the task's, so that handing over takes the same moment for one
file and for a million. Where mounts cannot show another owner, the files change their owner one by one; where nothing
can be mounted, the directory moves into the task directory and back.

One task uses a cache at a time; a second one that wants the same name gets another instance. A cache is kept only if
its user has ended in order: `Item.begin_use` says so on disk before the task sees it.
"""

import logging
import os
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from taskward.core.outcome import failed
from taskward.executor.errors import EngineFailed, TaskEnded
from taskward.executor.mounts.content import extract, new_content, show
from taskward.executor.mounts.downloads import Downloads
from taskward.executor.mounts.errors import MountFailed
from taskward.executor.mounts.request import WritableCache
from taskward.executor.mounts.shelf import Facts, Item, Shelf
from taskward.executor.mounts.site import Site
from taskward.executor.task import Task

_CHANGE_WITHIN_S: Final = 900

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Used:
    """A cache that a task has; its content was moved to `place` unless it is mounted there."""

    name: str
    item: Item
    place: str
    moved: bool


class Caches:
    """For one task."""

    def __init__(self, site: Site, shelf: Shelf, downloads: Downloads) -> None:
        self._site, self._shelf, self._downloads = site, shelf.prepare(), downloads

    def mount(self, request: WritableCache, place: str) -> Used:
        """Gives it to the task until `give_back`.

        Raises:
            MountFailed: it cannot be had.
            EngineFailed: this machine cannot mount.
        """
        answer, (target,) = self._site.porter.ask("directory", place=place)
        try:
            if not answer["empty"]:
                raise MountFailed(f"cannot mount writable directory cache on {place} since it is not empty")
            item = self._existing(request.name, place) or self._new(request, place)
            try:
                return self._hand_over(request.name, item, place, target)
            except BaseException:
                item.discard()
                raise
        finally:
            os.close(target)

    def _existing(self, name: str, place: str) -> Item | None:
        item = newest(self._shelf, name)
        if item is not None:
            self._site.say(f"Moving existing writable directory cache {name} from {item.content} to {place}")
        return item

    def _new(self, request: WritableCache, place: str) -> Item:
        item = self._shelf.create()
        try:
            self._site.say(f"No existing writable directory cache '{request.name}' - creating {item.content}")
            uid, now = self._site.new_uid(), time.time()
            with new_content(item, uid) as target:
                if request.content is not None:
                    with self._downloads.get(request.content) as archive:
                        extract(self._site, archive, request.format, place, uid, target)
            item.complete(Facts(request.name, now, now, uid=uid))
        except BaseException:
            item.discard()
            raise
        return item

    def _hand_over(self, name: str, item: Item, place: str, target: int) -> Used:
        site = self._site
        item.begin_use()
        site.say(f"Granting {site.identity.user} full control of directory '{place}'")
        moved = not site.task.engine.isolated
        if moved:
            _move(item.content, Path(place))
        else:
            if not site.can_map_owners():
                change_owner(item, site.identity.uid)
            show(site, item, target, place, read_only=False)
        site.say(f"Successfully mounted writable directory cache '{place}'")
        return Used(name, item, place, moved)


def newest(shelf: Shelf, name: str) -> Item | None:
    """The cache of that name that was used last and that nobody has; what cannot be trusted is thrown away."""
    known = [(facts.last_used_s, each) for each, facts in shelf.listing() if facts.key == name]
    for _, each in sorted(known, reverse=True):
        item = shelf.take(each)
        if item is None:
            continue
        if item.in_use or item.to_be_purged or not item.content.is_dir():
            item.discard()
            continue
        item.touch()
        return item
    return None


def give_back(task: Task, used: Used, purge: bool) -> None:
    """Takes a cache from a task that is dead, after what was mounted is detached; keeps it for the next one or not."""
    item = used.item
    if purge or item.to_be_purged:
        discard(task, used.name, item)
        return
    task.log.info(f'[mounts] Preserving cache: Moving "{used.place}" to "{item.content}"')
    try:
        if used.moved:
            _move(Path(used.place), item.content)
    except TaskEnded as error:
        task.fail(failed(f'[mounts] could not persist cache "{used.name}" due to {error}'))
        discard(task, used.name, item)
        return
    item.end_use()
    item.close()


def discard(task: Task, name: str, item: Item) -> None:
    """Throws a cache away."""
    task.log.info(f"[mounts] Removing cache {name} from cache table")
    task.log.info(f"[mounts] Deleting cache {name} file(s) at {item.content}")
    item.discard()


def change_owner(item: Item, uid: int) -> None:
    """Gives every file that is the former owner's to `uid`; others (hard links to something else) stay as they are.

    Raises:
        EngineFailed: one cannot be given.
    """
    facts = item.facts
    if facts is None or facts.uid == uid:
        return
    _logger.warning("mounts cannot show another owner here: changing the owner of each file", extra={"item": item.id})
    argv = ["chown", "-R", "-P", "-h", f"--from={facts.uid}", f"{uid}:{uid}", "--", str(item.content)]
    try:  # a program, since a task may have made directories deeper than Python can go
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_CHANGE_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineFailed(f"cannot change the owner of {item.content}: {error}") from error
    if done.returncode:
        raise EngineFailed(f"cannot change the owner of {item.content}: {done.stderr.strip()[:500]}")
    item.complete(replace(facts, uid=uid))


def _move(source: Path, target: Path) -> None:
    if source.is_symlink() or not source.is_dir():
        raise MountFailed(f"{source} is not there any more")
    try:
        source.rename(target)
    except OSError as error:
        raise MountFailed(f"{source} cannot be moved to {target}: {error.strerror}") from error
