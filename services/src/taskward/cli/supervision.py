"""The life of supervisord and all its processes: start, ask, stop."""

import fcntl
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from taskward.cli.errors import CommandError, Forbidden, Unavailable
from taskward.cli.programs import base_environment
from taskward.cli.supervisor import Process, Supervisor, SupervisorAway, SupervisorRefused
from taskward.cli.supervisord import alive_lock, command_line, directory
from taskward.core.poll import until

GIVEN_UP: Final = frozenset({"FATAL", "EXITED"})
"""States in which supervisord starts a program no more; `attendant` does, after a pause."""

UMASK: Final = 0o022
"""Of supervisord, and of its programs until they set their own; never that of whoever starts it."""

_LOG_MODE: Final = 0o640
_POLL_S: Final = 0.05


def supervisor(state_dir: Path) -> Supervisor:
    """The supervisor of this worker, running or not."""
    return Supervisor(directory(state_dir) / "supervisor.sock")


def start_in_background(state_dir: Path) -> None:
    """Starts supervisord away from this terminal; `await_running` tells when it works."""
    with open(state_dir / "var/log/supervisord.out", "ab", opener=partial(os.open, mode=_LOG_MODE)) as output:
        subprocess.Popen(
            command_line(state_dir), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=state_dir,
            env=base_environment(), start_new_session=True, preexec_fn=no_core_dumps, umask=UMASK,
        )  # fmt: skip


def no_core_dumps() -> None:
    """A dump of a process with secrets in its memory never reaches the disk; a task may raise its own limit again."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def await_running(state_dir: Path, timeout_s: float) -> tuple[Process, ...]:
    """The processes, once every one of them runs.

    Raises:
        CommandError: they do not in time; the text names those and where their log is.
    """
    deadline, seen = time.monotonic() + timeout_s, False
    while True:
        found = _processes(supervisor(state_dir))
        if seen and not found:
            raise Unavailable(f"the worker was stopped while it started; see {state_dir}/var/log/supervisord.log")
        seen = bool(found)
        if found and all(process.state == "RUNNING" for process in found):
            return found
        if time.monotonic() > deadline or any(process.state in GIVEN_UP for process in found):
            lame = ", ".join(f"{p.name} ({p.state})" for p in found if p.state != "RUNNING") or "the supervisor itself"
            raise Unavailable(f"not running: {lame}; see {state_dir}/var/log; `taskward down` stops the rest")
        time.sleep(_POLL_S)


def stop(state_dir: Path, timeout_s: float) -> bool:
    """Tells supervisord to end everything in order, and waits until nothing is left; False when nothing ran.

    Raises:
        CommandError: something is still there after `timeout_s`.
    """
    with _lock_file(state_dir) as lock:
        try:
            supervisor(state_dir).shutdown()
        except SupervisorAway:
            if _is_free(lock):
                return False
        await_gone(state_dir, timeout_s)
    return True


def await_gone(state_dir: Path, timeout_s: float) -> None:
    """Waits until no process of this worker is left; each holds a shared lock as long as it lives.

    Raises:
        CommandError: some are still there; the text names their pids.
    """
    with _lock_file(state_dir) as lock:
        if not until(lambda: _is_free(lock) and not supervisor(state_dir).answers(), timeout_s, _POLL_S):
            pids = " ".join(str(pid) for pid in holders(alive_lock(state_dir)))
            raise CommandError(f"processes of this worker are still there after {timeout_s:.0f} s: {pids or '?'}")


def holders(lock: Path) -> tuple[int, ...]:
    """The processes that have the lock file open, for telling a person."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if entry.samefile(lock):
                found.append(int(entry.parts[2]))
        except OSError:
            continue  # gone meanwhile, or not ours to look at
    return tuple(sorted({pid for pid in found if pid != os.getpid()}))


@contextmanager
def _lock_file(state_dir: Path) -> Iterator[int]:
    """The open lock file, not locked.

    Raises:
        Forbidden: the worker is another user's.
    """
    path = alive_lock(state_dir)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except PermissionError as error:
        raise Forbidden(f"{path}: {error.strerror}; ask as the user who started the worker") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True


def _processes(of: Supervisor) -> tuple[Process, ...]:
    try:
        return of.processes()
    except (SupervisorAway, SupervisorRefused):  # the latter while it begins or ends
        return ()
