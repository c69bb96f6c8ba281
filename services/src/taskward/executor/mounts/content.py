"""Directories on a shelf: made empty, filled from an archive, shown to a task."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from taskward.executor.errors import EngineFailed
from taskward.executor.mounts import kernel
from taskward.executor.mounts.downloads import Fetched
from taskward.executor.mounts.errors import MountFailed
from taskward.executor.mounts.shelf import Item
from taskward.executor.mounts.site import Site, opened


@contextmanager
def new_content(item: Item, uid: int) -> Iterator[int]:
    """A descriptor of the item's directory, made empty and owned by `uid`."""
    item.content.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(item.content, uid, uid)
    with opened(item.content) as target:
        yield target


def extract(site: Site, archive: Fetched, form: str, place: str, uid: int, target: int) -> None:
    """Unpacks into the open directory `target` as `uid`; `place` is where the task will see it.

    Raises:
        MountFailed: the archive is bad, or too large.
    """
    site.say(f"Extracting {form} file {archive.place} to '{place}'")
    try:
        site.unpack_as(uid, archive.fd, archive.sha256, form, target)
    except MountFailed as error:
        text = str(error).removeprefix("[mounts] ")
        raise MountFailed(f"Could not extract {form} file {archive.place} to '{place}': {text}") from error


def show(site: Site, item: Item, target: int, place: str, *, read_only: bool) -> None:
    """Mounts the item's directory on the open directory `target`, as the task's own.

    Raises:
        MountFailed: that directory is not the task's to cover.
        EngineFailed: the kernel refuses.
    """
    facts = item.facts
    if os.fstat(target).st_uid != site.identity.uid:
        raise MountFailed(f"cannot mount on {place} since it does not belong to the task's user")
    try:
        with opened(item.content) as source:
            kernel.show(source, target, read_only=read_only, owner=(facts.uid, site.shown_uid) if facts else None)
    except OSError as error:
        raise EngineFailed(f"cannot mount {item.content} on {place}: {error.strerror}") from error
