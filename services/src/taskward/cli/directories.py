"""Makes the directories of `core.layout` with their owners and modes; symbolic links are never followed.

A process that is taken over may have replaced what is inside its own directories, so every step goes through
descriptors: what was checked is what is changed.
"""

import contextlib
import errno
import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.cli.accounts import ROLE_USERS, user_of
from taskward.cli.errors import NotSaved
from taskward.core.errors import ConfigurationError

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Directory:
    """A directory below the state directory, as root makes it."""

    path: str
    owner: str
    group: str
    mode: int


PASSWORD_ROLES: Final = ("claimer", "executor", "uploader", "proxy", "gateway", "monitor", "admin")
"""Who has a Redis password; `admin` belongs to the server's own user, `executor` and `monitor` to root."""


def password_owner(role: str) -> str:
    """The user who may read the Redis password of `role`."""
    return user_of("redis" if role == "admin" else role)


def _own(path: str, role: str) -> Directory:
    return Directory(path, ROLE_USERS[role], ROLE_USERS[role], 0o700)


def _secrets(role: str) -> Directory:
    owner = ROLE_USERS.get("redis" if role == "admin" else role, "root")
    return Directory(f"secrets/{role}", owner, owner, 0o500)


DIRECTORIES: Final = (
    Directory("run", "root", "root", 0o755),
    Directory("run/redis", "tw-redis", "tw-queue", 0o2750),
    Directory("run/signer", "tw-signer", "tw-sign", 0o2750),
    Directory("run/keyholder", "tw-keys", "tw-hold", 0o2750),
    Directory("run/decrypter", "tw-decrypt", "root", 0o2750),
    Directory("run/shells", "root", "tw-gateway", 0o750),
    Directory("run/desktops", "root", "root", 0o711),
    Directory("run/status", "root", "tw-queue", 0o1770),
    Directory("run/supervisor", "root", "root", 0o700),
    Directory("locks", "root", "tw-queue", 0o750),  # whoever can open a lock file can hold the lock of the dead
    Directory("locks/execute", "root", "tw-claimer", 0o750),
    Directory("locks/retained", "root", "tw-claimer", 0o750),
    Directory("locks/owners", "root", "tw-claimer", 0o750),
    Directory("locks/upload", "tw-uploader", "tw-claimer", 0o750),
    Directory("logs", "root", "tw-logs", 0o750),
    Directory("outbox", "root", "tw-uploader", 0o750),
    Directory("tasks", "root", "root", 0o711),
    Directory("secrets", "root", "root", 0o711),
    *(_secrets(role) for role in PASSWORD_ROLES),
    _own("keys", "keyholder"),
    Directory("public-keys", "tw-keys", "tw-keys", 0o755),
    _own("decrypter", "decrypter"),
    Directory("public-encryption", "tw-decrypt", "tw-decrypt", 0o755),
    _own("redis", "redis"),
    _own("signer", "signer"),
    _own("devcluster", "devcluster"),
    Directory("var", "root", "root", 0o755),
    Directory("var/log", "root", "root", 0o700),
    Directory("metrics", "root", "root", 0o755),
    Directory("metrics/claimer", "tw-claimer", "tw-claimer", 0o755),
    Directory("metrics/executor", "root", "root", 0o755),
    Directory("metrics/uploader", "tw-uploader", "tw-uploader", 0o755),
    Directory("tmp", "root", "root", 0o711),
    *(_own(f"tmp/{role}", role) for role in ROLE_USERS),
    Directory("tmp/executor", "root", "root", 0o700),
)


def ensure_directories(state_dir: Path) -> None:
    """Makes or repairs all of them; as an ordinary user everything is that user's, 0700.

    Raises:
        ConfigurationError: a place that others can write to, a symbolic link, something that is no directory, or a
            place where they cannot be made.
    """
    with explained(state_dir):
        _refuse_unsafe_parents(state_dir)
        _make_parents(state_dir)
        _make(state_dir)


def check(state_dir: Path) -> None:
    """Whether `ensure_directories` can do it, as far as that can be found out; nothing that it makes stays.

    Raises:
        ConfigurationError: it cannot.
    """
    with explained(state_dir):
        _refuse_unsafe_parents(state_dir)
        if os.path.lexists(state_dir):
            with _opened(None, state_dir) as root:
                _refuse_foreign(os.fstat(root), state_dir)
        tempfile.TemporaryDirectory(prefix=".taskward-", dir=_nearest(state_dir)).cleanup()


@contextlib.contextmanager
def explained(state_dir: Path) -> Iterator[None]:
    """What the system refuses within the block is a fault of that setting.

    Raises:
        ConfigurationError: instead of OSError; the text has the remedy.
        NotSaved: there is no room; it may be tried again, later.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise NotSaved(f"[worker] state_dir {state_dir}: {error.strerror}; make room") from error
        raise ConfigurationError(
            f"[worker] state_dir {state_dir}: nothing can be made in {_nearest(state_dir)}: {error.strerror}; "
            f"choose a place where the user {user_of('supervisor')} can make directories"
        ) from error


def _nearest(state_dir: Path) -> Path:
    """The directory itself, or the first above it that is there."""
    return next(each for each in (state_dir, *state_dir.parents) if os.path.lexists(each))


def _make_parents(state_dir: Path) -> None:
    umask = os.umask(0o022)
    try:
        state_dir.parent.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(umask)


def _make(state_dir: Path) -> None:
    with _opened(None, state_dir) as root:
        _settle(root, state_dir, Directory("", "root", "root", 0o755))
        for directory in DIRECTORIES:
            with contextlib.ExitStack() as stack:
                fd = root
                *parents, name = Path(directory.path).parts
                for parent in parents:
                    fd = stack.enter_context(_opened(fd, Path(parent)))
                fd = stack.enter_context(_opened(fd, Path(name)))
                _settle(fd, state_dir / directory.path, directory)


@contextlib.contextmanager
def _opened(parent: int | None, path: Path) -> Iterator[int]:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700, dir_fd=parent)
    try:
        fd = os.open(path, _OPEN, dir_fd=parent)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; it must be a directory and no symbolic link") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _settle(fd: int, path: Path, wanted: Directory) -> None:
    found = os.fstat(fd)
    if os.geteuid() != 0 or not wanted.path:
        _refuse_foreign(found, path)
    if os.geteuid() != 0:
        os.fchmod(fd, 0o700)
        return
    uid, gid = pwd.getpwnam(wanted.owner).pw_uid, grp.getgrnam(wanted.group).gr_gid
    if (found.st_uid, found.st_gid) != (uid, gid):
        os.fchown(fd, uid, gid)
    if stat.S_IMODE(found.st_mode) != wanted.mode:
        os.fchmod(fd, wanted.mode)


def _refuse_foreign(found: os.stat_result, path: Path) -> None:
    if found.st_uid != os.geteuid():
        text = f"{path}: belongs to uid {found.st_uid} and not to {user_of('supervisor')}"
        raise ConfigurationError(f"{text}; choose another [worker] state_dir")


def _refuse_unsafe_parents(state_dir: Path) -> None:
    """Whoever can rename a parent can replace the state directory; and the worker's users have to pass through all."""
    real = Path(os.path.realpath(state_dir.parent))
    for parent in (real, *real.parents):
        with contextlib.suppress(FileNotFoundError):
            found = parent.stat()
            if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
                raise ConfigurationError(
                    f"[worker] state_dir {state_dir}: others can write to {parent}; choose a place that only "
                    f"{user_of('supervisor')} can change, for example /var/lib/taskward"
                )
            if os.geteuid() == 0 and not found.st_mode & stat.S_IXOTH:
                raise ConfigurationError(
                    f"[worker] state_dir {state_dir}: the worker's users cannot enter {parent}; choose another place, "
                    f"for example /var/lib/taskward"
                )
            if found.st_uid not in (0, os.geteuid()):
                raise ConfigurationError(f"[worker] state_dir {state_dir}: {parent} belongs to another user")
