"""Mounts by descriptor, and mounts that show another owner: system calls that Python has no functions for.

Numbers are the same on every architecture (they are newer than Linux 5.0). ``man 2 open_tree, move_mount,
mount_setattr``.
"""

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Final

from taskward.executor.clone import fork_patiently

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE: Final = 1
_EMPTY_PATH: Final = 0x1000
_MOVE_FROM_EMPTY_PATH, _MOVE_TO_EMPTY_PATH = 0x04, 0x40
_READ_ONLY, _NO_SUID, _NO_DEVICES, _IDMAP = 0x1, 0x2, 0x4, 0x0010_0000
_DETACH, _NO_FOLLOW = 0x2, 0x8
_CLONE_NEWUSER: Final = 0x1000_0000
_libc: Final = ctypes.CDLL(None, use_errno=True)


def show(source: int, target: int, *, read_only: bool, owner: tuple[int, int] | None = None) -> None:
    """Mounts the open directory `source` on the open directory `target`, without devices and set-uid programs.

    Args:
        source: what is to be seen.
        target: where; nothing is followed, it is this very directory.
        read_only: whether nobody may write.
        owner: uid on disk → uid in this mount (the gid likewise); all other owners become nobody.

    Raises:
        OSError: the kernel or the file system cannot, or we may not.
    """
    tree = _call(_OPEN_TREE, source, b"", _OPEN_TREE_CLONE | _EMPTY_PATH | os.O_CLOEXEC)
    try:
        _set(tree, (_READ_ONLY if read_only else 0) | _NO_SUID | _NO_DEVICES)
        if owner is not None and owner[0] != owner[1]:
            _map_owner(tree, *owner)
        _call(_MOVE_MOUNT, tree, b"", target, b"", _MOVE_FROM_EMPTY_PATH | _MOVE_TO_EMPTY_PATH)
    finally:
        os.close(tree)


def can_map_owners(directory: Path) -> bool:
    """Whether mounts of that file system can show another owner here."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            tree = _call(_OPEN_TREE, fd, b"", _OPEN_TREE_CLONE | _EMPTY_PATH | os.O_CLOEXEC)
        finally:
            os.close(fd)
        try:
            _map_owner(tree, 1, 2)
        finally:
            os.close(tree)
    except OSError:
        return False
    return True


def detach(place: Path) -> None:
    """Takes the uppermost mount at `place` away; who still has files of it open keeps them.

    Raises:
        OSError: nothing is mounted there.
    """
    if _libc.umount2(os.fsencode(place), _DETACH | _NO_FOLLOW) == 0:
        return
    if ctypes.get_errno() != errno.ENAMETOOLONG:
        _fail()
    fd = _open_far(place)
    try:
        if _libc.umount2(f"/proc/self/fd/{fd}".encode(), _DETACH):
            _fail()
    finally:
        os.close(fd)


def _open_far(place: Path) -> int:
    """A directory whose path is too long for a system call: a task may have moved it there."""
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in place.parts[1:]:
        try:
            deeper = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)
        fd = deeper
    return fd


def _set(tree: int, attributes: int, user_namespace: int = 0) -> None:
    packed = struct.pack("=QQQQ", attributes, 0, 0, user_namespace)
    _call(_MOUNT_SETATTR, tree, b"", _EMPTY_PATH, packed, len(packed))


def _map_owner(tree: int, on_disk: int, shown: int) -> None:
    namespace = _user_namespace(f"{on_disk} {shown} 1")
    try:
        _set(tree, _IDMAP, namespace)
    finally:
        os.close(namespace)


def _user_namespace(mapping: str) -> int:
    """A descriptor of a new user namespace; the process that has to be its first member lives as long as this call."""
    (ready, told), (wait, leave) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    pid = fork_patiently()
    if pid == 0:
        try:
            os.close(leave)
            os.write(told, b"y" if _libc.unshare(_CLONE_NEWUSER) == 0 else b"n")
            os.read(wait, 1)
        finally:
            os._exit(0)
    try:
        os.close(told)
        os.close(wait)
        if os.read(ready, 1) != b"y":
            raise PermissionError("no user namespace can be made")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(mapping)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready)
        os.close(leave)
        os.waitpid(pid, 0)


def _call(number: int, *arguments: int | bytes) -> int:
    prepared = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *prepared))
    return result if result >= 0 else _fail()


def _fail() -> int:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
