"""Moves a run's artifacts into its outbox, once every process of the task is dead.

Two steps, each of which may be repeated after a crash: first a plan is made and written down (`plan.json`, for us
alone), then the files are moved as the plan says. What has been moved already is left as it is.

A file is moved by renaming it when it belongs to the task's user alone, has one name, lies on the same file system and
nobody has it open for writing; otherwise it is copied from a descriptor that the task's user has opened. Both begin
with that descriptor, so nothing that the user cannot read gets into the outbox.
"""

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from taskward.core.outbox import Entry
from taskward.core.outcome import Outcome
from taskward.executor.ownership import give_to_group, group_id
from taskward.executor.plan import Plan
from taskward.executor.reader import Opened, Reader

PLAN: Final = "plan.json"
OUTBOX_GROUP: Final = "tw-uploader"
_COPY_BYTES: Final = 1 << 26


def open_outbox(outbox: Path) -> None:
    """The directory, which its group may only read."""
    outbox.mkdir(parents=True, exist_ok=True)
    give_to_group(outbox, OUTBOX_GROUP, 0o2750)


def save_plan(plan: Plan, outbox: Path) -> None:
    """Writes down what is about to be moved, whole or not at all."""
    draft, error = outbox / f".{PLAN}", plan.first_error
    entries, first_error = [vars(entry) for entry in plan.entries], error.to_json() if error else ""
    draft.write_text(json.dumps({"entries": entries, "sources": plan.sources, "first_error": first_error}))
    draft.chmod(0o600)
    draft.rename(outbox / PLAN)


def load_plan(plan: Plan, outbox: Path) -> bool:
    """Fills `plan` with what an earlier life wrote down; False when it did not get so far."""
    try:
        data = json.loads((outbox / PLAN).read_text())
    except FileNotFoundError:
        return False
    plan.entries[:] = [Entry(**entry) for entry in data["entries"]]
    plan.sources.update(data["sources"])
    plan.first_error = Outcome.from_json(data["first_error"]) if data["first_error"] else None
    return True


def move_all(plan: Plan, reader: Reader, outbox: Path, task_uid: int, *, copy: bool = False) -> None:
    """Moves every file of the plan that is not there yet; what cannot be had becomes an error artifact.

    With `copy` nothing is taken away from the task.

    Raises:
        EngineFailed: the process that reads for the task is gone.
    """
    target = os.open(outbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for file, path in plan.sources.items():
            if (outbox / file).exists():
                _settle(target, file)
            else:
                _move(plan, reader, target, file, path, None if copy else task_uid)
    finally:
        os.close(target)


def take_copy(source: int, outbox: Path, file: str) -> int:
    """Copies the open file `source`, as it is at this moment, into the outbox; its size in bytes.

    Raises:
        OSError: it cannot be written.
    """
    target = os.open(outbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _copy(source, target, file)
    finally:
        os.close(target)
    return (outbox / file).stat().st_size


def _move(plan: Plan, reader: Reader, target: int, file: str, path: str, task_uid: int | None) -> None:
    try:
        opened = reader.open(path)
    except OSError as error:
        plan.spoil(file, "file-not-readable-on-worker", f"Could not read file '{path}' as task user: {error.strerror}")
        return
    try:
        if task_uid is None or not _rename(opened, target, file, task_uid):
            _copy(opened.file, target, file)
    except OSError as error:
        plan.spoil(file, "invalid-resource-on-worker", f"Could not copy file '{path}': {error.strerror}")
    finally:
        os.close(opened.file)
        os.close(opened.directory)


def _settle(target: int, file: str) -> None:
    """An earlier life had moved it, and may have died before it was given away."""
    moved = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
    try:
        _give_away(moved)
    finally:
        os.close(moved)


def _rename(opened: Opened, target: int, file: str, task_uid: int) -> bool:
    """Whether the file could be had by renaming; a name that has come to mean another file is not trusted."""
    if os.geteuid() != 0:
        return False  # then caches belong to the task's user, too, and must keep what is in them
    found = os.fstat(opened.file)
    if found.st_uid != task_uid or found.st_nlink != 1 or is_written(opened.file):
        return False
    here = os.stat(opened.name, dir_fd=opened.directory, follow_symlinks=False)
    if not os.path.samestat(here, found):
        return False
    try:
        os.rename(opened.name, file, src_dir_fd=opened.directory, dst_dir_fd=target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise
    if not os.path.samestat(os.stat(file, dir_fd=target, follow_symlinks=False), found):
        os.unlink(file, dir_fd=target)
        return False
    _give_away(opened.file)
    return True


def is_written(file: int) -> bool:
    """Whether somebody still has it open for writing: then the kernel grants no read lease."""
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    return False


def _copy(source: int, target: int, file: str) -> None:
    """Complete under its name, or not there."""
    draft = f".{file}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=target)
    copy = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400, dir_fd=target)
    try:
        size_bytes = os.fstat(source).st_size
        for start, end in _data(source, size_bytes):
            while start < end and (sent := _send(copy, source, start, end - start)):
                start += sent
        os.ftruncate(copy, size_bytes)
        _give_away(copy)
    except OSError:
        os.unlink(draft, dir_fd=target)
        raise
    finally:
        os.close(copy)
    os.rename(draft, file, src_dir_fd=target, dst_dir_fd=target)


def _data(file: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """From where to where there is anything: a hole of terabytes costs nothing, and must cost nothing in the copy."""
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a file system that knows no holes
                yield end, size_bytes
            return
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, min(end, size_bytes)


def _send(copy: int, source: int, at: int, most_bytes: int) -> int:
    """Inside the kernel; between file systems that cannot, through a pipe of the kernel."""
    count = min(most_bytes, _COPY_BYTES)
    try:
        return os.copy_file_range(source, copy, count, at, at)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        os.lseek(copy, at, os.SEEK_SET)
        return os.sendfile(copy, source, at, count)


def _give_away(file: int) -> None:
    """Ours, for the uploader to read, for nobody to change."""
    os.fchown(file, os.geteuid(), group_id(OUTBOX_GROUP))
    os.fchmod(file, stat.S_IRUSR | stat.S_IRGRP)
