"""OS users of tasks: a fresh one for each run, with a uid that no earlier run of this worker had.

Which run a user belongs to is told by its home directory, so nothing has to be remembered elsewhere.
"""

import fcntl
import logging
import os
import pwd
import random
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.core.ids import RunId
from taskward.executor.errors import EngineFailed

PREFIX: Final = "task_"
FIRST_UID: Final = 1_900_000_000  # a range that neither people, services nor containers use
_UIDS: Final = 100_000_000
_NAME_LENGTH: Final = 20
_UID_IN_USE, _NO_SUCH_USER, _NAME_IN_USE = 4, 6, 9
_ATTEMPTS: Final = 30
_TIMEOUT_S: Final = 30

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Account:
    """A task's user."""

    name: str
    uid: int
    gid: int
    home: Path


def create(run: RunId, home: Path, counter: Path) -> Account:
    """A new user for `run`; `counter` is the file that remembers the last uid, and the lock among executors.

    Raises:
        EngineFailed: the system refuses; the text is its own.
    """
    name, message = user_name(run), ""
    with _next_uid(counter) as uids:
        for _ in range(_ATTEMPTS):
            uid = next(uids)
            code, message = _useradd(name, uid, home)
            if code == 0:
                return _account(pwd.getpwnam(name))
            if code == _NAME_IN_USE:
                name = f"{PREFIX}{uid}"
            elif code != _UID_IN_USE:
                time.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - somebody else holds the lock of /etc/passwd
    raise EngineFailed(f"cannot create a user for the task: useradd: {message}")


def unused_uid(counter: Path) -> int:
    """A uid for files that no task shall own; `counter` as for `create`.

    Raises:
        OSError: the counter cannot be written.
    """
    with _next_uid(counter) as uids:
        return next(uids)


def join(user: str, groups: Sequence[str]) -> None:
    """Makes `user` a member of `groups`; `remove` ends that.

    Raises:
        EngineFailed: the system refuses; the text is its own.
    """
    message = ""
    for _ in range(_ATTEMPTS):
        code, message = _administer(["usermod", "--append", "--groups", ",".join(groups), user])
        if code == 0:
            return
        time.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - somebody else holds the lock of /etc/group
    raise EngineFailed(f"cannot add the task's user to groups: usermod: {message}")


def user_name(run: RunId) -> str:
    """``task_<beginning of the taskId>_<runId>``, 20 characters at most."""
    end = f"_{run.run_id}"
    return f"{PREFIX}{run.task_id[: _NAME_LENGTH - len(PREFIX) - len(end)]}{end}"


def find(home: Path) -> Account | None:
    """The user whose home is `home`."""
    return next((each for each in below(home.parent) if each.home == home), None)


def own_name() -> str:
    """The name of the user that we run as; its number where it has none, as in some containers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def below(tasks: Path) -> list[Account]:
    """All users of tasks whose home is in `tasks`."""
    entries = (entry for entry in pwd.getpwall() if entry.pw_name.startswith(PREFIX))
    return [account for account in map(_account, entries) if account.home.parent == tasks]


def remove(account: Account) -> None:
    """Deletes the user and its group; one that cannot be deleted now is left for the next sweep."""
    done = subprocess.run(["userdel", account.name], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode not in (0, _NO_SUCH_USER):
        _logger.warning("user not removed", extra={"user": account.name, "reason": done.stderr.strip()})


@contextmanager
def _next_uid(counter: Path) -> Iterator[Iterator[int]]:
    counter.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(counter, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield _count(fd)
    finally:
        os.close(fd)


def _count(fd: int) -> Iterator[int]:
    while True:
        text = os.pread(fd, 20, 0).strip()
        number = (int(text) + 1) % _UIDS if text.isdigit() else secrets.randbelow(_UIDS)
        os.pwrite(fd, f"{number:<19}\n".encode(), 0)
        yield FIRST_UID + number


def _useradd(name: str, uid: int, home: Path) -> tuple[int, str]:
    # no subordinate ids, which userdel frees for the next: what is written as one of them is nobody's afterwards
    argv = [
        "useradd", "--no-create-home", "--no-log-init", "--user-group", "--uid", str(uid), "--home-dir", str(home),
        "--shell", "/bin/bash", "--key", "SUB_UID_COUNT=0", "--key", "SUB_GID_COUNT=0",
        "--key", f"GID_MIN={uid}", "--key", f"GID_MAX={uid}", "--key", f"UID_MAX={uid}", name,
    ]  # fmt: skip
    return _administer(argv)


def _administer(argv: list[str]) -> tuple[int, str]:
    """Exit code and error text of a program that edits the user database."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineFailed(f"cannot make a user for the task: {error}") from error
    return done.returncode, done.stderr.strip()


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))
