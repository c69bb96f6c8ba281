"""A directory of things that outlive a task. What is on disk is all there is to know: no table can disagree with it.

::

    <shelf>/<id>/item.json   facts; there since the item was complete, replaced whole
    <shelf>/<id>/content     a file or a directory
    <shelf>/<id>/in-use      a task writes to it, or had when it died
    <shelf>/<id>/purge       to be thrown away by whoever uses it now
    <shelf>/trash-<random>   to be deleted when there is time

Whoever works with an item holds the lock (``flock``) of its directory: alone, or together with others that only read.
The kernel gives a lock back when its process dies, so what is unlocked and still `in-use` was left by a process that
was killed, and is not trusted any more.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from taskward.executor.litter import remove_tree

_ITEM, _CONTENT, _IN_USE, _PURGE, _TRASH = "item.json", "content", "in-use", "purge", "trash-"


@dataclass(frozen=True)
class Facts:
    """What is known of an item.

    Attributes:
        key: where it comes from; of a cache its name.
        created_s, last_used_s: seconds since 1970.
        hits: how often it was found here.
        sha256: of the file, or of the archive that a directory was unpacked from; empty if there was none.
        uid: who owns it on disk.
    """

    key: str
    created_s: float
    last_used_s: float
    hits: int = 0
    sha256: str = ""
    uid: int = 0


class Item:
    """One thing on a shelf, locked by this process until `close`."""

    def __init__(self, directory: Path, fd: int) -> None:
        self.directory, self._fd = directory, fd

    @property
    def id(self) -> str:
        """Unique on this machine; also in the mount table, since `content` is mounted."""
        return self.directory.name

    @property
    def content(self) -> Path:
        """The file or directory."""
        return self.directory / _CONTENT

    @property
    def facts(self) -> Facts | None:
        """None while it is not complete."""
        return _facts(self.directory)

    def complete(self, facts: Facts) -> None:
        """From now on it counts."""
        _replace(self.directory / _ITEM, json.dumps(asdict(facts)))

    def touch(self) -> Facts:
        """One more hit, now."""
        facts = self.facts
        if facts is None:
            raise FileNotFoundError(self.directory / _ITEM)
        used = replace(facts, hits=facts.hits + 1, last_used_s=time.time())
        self.complete(used)
        return used

    @property
    def in_use(self) -> bool:
        """Whether a task began to write to it and has not ended in order."""
        return (self.directory / _IN_USE).exists()

    def begin_use(self) -> None:
        """To be called before a task can write to it; on disk when this returns."""
        _replace(self.directory / _IN_USE, "", durable=True)

    def end_use(self) -> None:
        """The task is dead, and nothing went wrong with it."""
        (self.directory / _IN_USE).unlink(missing_ok=True)

    @property
    def to_be_purged(self) -> bool:
        """Whether somebody wanted it gone while it was in use."""
        return (self.directory / _PURGE).exists()

    def discard(self) -> None:
        """Off the shelf at once; deleted later."""
        with contextlib.suppress(FileNotFoundError):
            self.directory.rename(self.directory.parent / f"{_TRASH}{secrets.token_hex(8)}")
        self.close()

    def share(self) -> None:
        """Others may read it, too; nobody may change it while one does."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def close(self) -> None:
        """Gives the lock back; twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Shelf:
    """All items of one kind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self) -> Self:
        """Makes the directory, for us alone."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def ids(self) -> list[str]:
        """Names of items, complete or not."""
        if not self.directory.is_dir():
            return []
        return [path.name for path in self.directory.iterdir() if not path.name.startswith((_TRASH, "."))]

    def listing(self) -> Iterator[tuple[str, Facts]]:
        """Id and facts of everything complete."""
        for name in self.ids():
            facts = _facts(self.directory / name)
            if facts is not None:
                yield name, facts

    def create(self) -> Item:
        """A new item with a name of its own."""
        while True:  # nobody else knows the name, but a sweep may come across it
            if item := self.take(secrets.token_hex(16), make=True):
                return item

    def take(self, name: str, *, make: bool = False, shared: bool = False) -> Item | None:
        """The item `name`, locked; None when it is not there (unless `make`) or when somebody else has it."""
        directory = self.directory / name
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        while True:
            try:
                if make:
                    directory.mkdir(mode=0o700, exist_ok=True)
                fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(fd, mode)
                if os.path.samestat(os.fstat(fd), directory.stat()):
                    return Item(directory, fd)
            except BlockingIOError:
                os.close(fd)
                return None
            except FileNotFoundError:  # discarded between the two steps
                pass
            os.close(fd)

    def ask_to_purge(self, name: str) -> None:
        """For an item that somebody else has."""
        with contextlib.suppress(FileNotFoundError):
            _replace(self.directory / name / _PURGE, "")

    def empty_trash(self) -> None:
        """Deletes what was discarded; several processes may do so at once."""
        if self.directory.is_dir():
            for path in self.directory.glob(f"{_TRASH}*"):
                remove_tree(path)


def id_of(key: str) -> str:
    """The name of an item of which there is one for each key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _facts(directory: Path) -> Facts | None:
    """None for what is not there, and for what a crash of the machine left unreadable."""
    try:
        data: dict[str, Any] = json.loads((directory / _ITEM).read_text())
        return Facts(**data)
    except (OSError, ValueError, TypeError):
        return None


def _replace(path: Path, text: str, *, durable: bool = False) -> None:
    """Whole or not at all; `durable` when it must be there after the power has failed."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.rename(path)
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
