"""Which processes are there, and whose: read from ``/proc``, zombies left out."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from taskward.executor.clone import fork_patiently
from taskward.executor.engine import Usage

_PR_SET_CHILD_SUBREAPER: Final = 36
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_libc: Final = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Processes whose parent dies become children of this one, however often they forked."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(awaited: Mapping[int, Callable[[], object]] | None = None) -> None:
    """Takes the zombies among our children away; one in `awaited` (pid → function) only by its function.

    So nobody loses how a process ended that dies while others are looked at.
    """
    by_others = dict(awaited or {})
    with contextlib.suppress(ChildProcessError):
        while zombie := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            take = by_others.pop(zombie.si_pid, None)  # once taken, its number may be an orphan's
            if take is None:
                os.waitpid(zombie.si_pid, 0)
            else:
                take()


def of_user(uid: int) -> set[int]:
    """Living processes with `uid` as real, effective, saved or file-system uid."""
    wanted = str(uid)
    return {pid for pid, state, uids, _ in _statuses() if state not in "ZX" and wanted in uids}


def descendants(ancestor: int) -> set[int]:
    """Living processes below `ancestor`, at any depth."""
    children: dict[int, list[int]] = {}
    living: set[int] = set()
    for pid, state, _, parent in _statuses():
        children.setdefault(parent, []).append(pid)
        if state not in "ZX":
            living.add(pid)
    found, waiting = set(), [ancestor]
    while waiting:
        below = children.get(waiting.pop(), [])
        waiting += below
        found.update(below)
    return found & living


def with_variable(variable: str) -> set[int]:
    """Living processes of ours whose environment has exactly `variable` (``NAME=value``)."""
    wanted = os.fsencode(variable)
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as stream:
            if pid != os.getpid() and wanted in stream.read().split(b"\0"):
                found.add(pid)
    return found


def usage(pids: set[int]) -> Usage:
    """Resident memory (shared pages count for each) and processor time of processes and of children they waited for."""
    pages, ticks = 0, 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{pid}/statm", "rb") as stream:
                pages += int(stream.read().split()[1])
            with open(f"/proc/{pid}/stat", "rb") as stream:
                ticks += sum(map(int, stream.read().rpartition(b")")[2].split()[11:15]))
    return Usage(pages * _PAGE_BYTES, ticks / _TICKS_PER_S)


def kill_each(pids: set[int]) -> None:
    """SIGKILL to each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def kill_user(uid: int, gid: int) -> None:
    """SIGKILL to all that `uid` may signal: in one call of the kernel, so that none can fork away from it."""
    pid = fork_patiently()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def _statuses() -> Iterator[tuple[int, str, list[str], int]]:
    """pid, state letter, uids, parent of every process."""
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/status", "rb") as stream:
                text = stream.read().decode("ascii", "replace")
        except OSError:
            continue
        head, _, rest = text.partition("\nState:\t")
        parent = rest.partition("\nPPid:\t")[2].partition("\n")[0]
        uids = rest.partition("\nUid:\t")[2].partition("\n")[0].split()
        if head and parent:
            yield pid, rest[0], uids, int(parent)


def _pids() -> list[int]:
    names = os.listdir("/proc")  # noqa: PTH208 - a third of the time of iterdir
    return [int(name) for name in names if name.isdigit()]
