"""Files that hold private keys: who may own them, how they come into being, how they are read."""

import fcntl
import os
import stat
from pathlib import Path

from taskward.signer.errors import UnusableKeyError

_MAX_KEY_BYTES = 4096


def make_directory(directory: Path, mode: int) -> None:
    """A directory, private or, with 0755, for everybody to read; raises `UnusableKeyError`."""
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
        if mode == 0o755 and directory.stat().st_mode & 0o055 != 0o055:
            directory.chmod(mode)  # the umask of this process is for private files
    except OSError as error:
        raise UnusableKeyError(f"cannot make the directory {directory}: {error.strerror}") from error


def check_private_tree(directory: Path) -> None:
    """Raises `UnusableKeyError` unless everything from `directory` down is ours alone.

    Ours alone: owned by this process's user, no symbolic link, no file with a second name somewhere else, no
    right for group or others. What holds no secret (gpg writes its public keyring with mode 0644) may be
    readable; the directories around it are not.
    """
    _check_private(directory)
    for parent, directories, files in os.walk(directory, followlinks=False):
        for name in directories + files:
            _check_private(Path(parent, name))


def _check_private(path: Path) -> None:
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        raise UnusableKeyError(
            f"{path} is a symbolic link; keys are read from real files only: put the file itself there"
        )
    if status.st_uid != os.geteuid():
        raise UnusableKeyError(
            f"{path} belongs to uid {status.st_uid}, this process runs as uid {os.geteuid()}; "
            f"remedy: chown {os.geteuid()} {path}"
        )
    secret = stat.S_ISDIR(status.st_mode) or path.suffix == ".key"
    if mode & (0o077 if secret else 0o022):
        wanted = "0700" if stat.S_ISDIR(status.st_mode) else "0600"
        raise UnusableKeyError(f"{path} has mode {mode:04o}, others can reach it; remedy: chmod {wanted} {path}")
    if stat.S_ISREG(status.st_mode) and status.st_nlink != 1 and not is_lock(path):
        raise UnusableKeyError(f"{path} has {status.st_nlink} names (hard links); remedy: remove the others or copy it")


def is_lock(path: Path) -> bool:
    """Whether it is one of gpg's own lock files, which hold no secret and have two names while they are held."""
    return path.name.startswith(".#lk") or path.name.endswith(".lock")


def read_key(path: Path) -> bytes:
    """The content of a private file; raises `UnusableKeyError` when it is none, or not ours alone."""
    _check_private(path)
    if not path.is_file():
        raise UnusableKeyError(f"{path} is not a regular file; remedy: move it away, and put the key's file there")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        return file.read(_MAX_KEY_BYTES)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is either complete or not there at all, also after a crash."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.rename(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames inside of `directory` last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold(directory: Path) -> int:
    """A directory of private files, for this process alone until it ends; returns the descriptor that holds it.

    Raises `UnusableKeyError` when it is not ours alone, or another process holds it.
    """
    make_directory(directory, 0o700)
    check_private_tree(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UnusableKeyError(f"{directory} is in use by another process; stop that one first") from None
    return descriptor
