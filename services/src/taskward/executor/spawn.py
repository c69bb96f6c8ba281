"""Starts processes with the rights of a task and nothing else of ours: no descriptor, variable, group or signal state.

A process dies with the one that started it (PDEATHSIG), is not dumpable before it executes the task's program, and is
in the task's control groups before its first instruction of that program.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import sys
import termios
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair
from typing import Final, NoReturn

from taskward.core.process import die_with_parent
from taskward.executor.clone import NO_ROOM, fork, fork_patiently
from taskward.executor.engine import Cpu, Ended, Identity, Program
from taskward.executor.errors import CommandNotStarted, EngineExhausted, EngineFailed

_PR_SET_DUMPABLE: Final = 4
_FIRST_PRIVATE_FD: Final = 200
_OOM_SCORE_ADJ: Final = "500"  # the kernel shall rather kill a task than the worker
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Rights:
    """What a process of the task may be.

    Attributes:
        identity: user, group, directory.
        change_user: whether we can become that user (only root can).
        cgroup: version 2 control group to be born in; empty for none.
        joins: files to write ``0`` into, for all other control groups.
        most_processes: limit by user where no control group can; 0 for none.
        groups: supplementary ones, by number.
    """

    identity: Identity
    change_user: bool
    cgroup: str
    joins: tuple[Path, ...]
    most_processes: int
    groups: tuple[int, ...] = ()


class Child:
    """A started process; see `engine.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        weakref.finalize(self, os.close, self._pidfd)
        self._ended: Ended | None = None

    def fileno(self) -> int:
        """Readable once it has ended."""
        return self._pidfd

    def ended(self) -> Ended | None:
        """How it ended, or None; takes the zombie away."""
        if self._ended is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                cpu = Cpu(used.ru_utime, used.ru_stime)
                self._ended = Ended(code, 0, cpu) if code >= 0 else Ended(-1, -code, cpu)
        return self._ended

    def cpu(self) -> Cpu:
        """What it and its finished children have used."""
        if self._ended is not None:
            return self._ended.cpu
        fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()  # its name may be any bytes
        user, kernel, children_user, children_kernel = map(int, fields[11:15])
        return Cpu((user + children_user) / _TICKS_PER_S, (kernel + children_kernel) / _TICKS_PER_S)


def start(rights: Rights, program: Program, log_fd: int) -> Child:
    """Executes `program`.

    Raises:
        CommandNotStarted: the program cannot be executed.
        EngineFailed: something before that failed.
    """
    report, told = os.pipe2(os.O_CLOEXEC)
    with open(os.devnull, "rb") as null:
        descriptors = {0: null.fileno(), 1: log_fd, 2: log_fd, **program.descriptors}
        parent = os.getpid()
        pid, born_inside = _fork(rights)
        if pid == 0:
            _tell_failure(told, lambda kept: _execute(rights, program, descriptors, kept, parent, born_inside))
    os.close(told)
    child = Child(pid)
    with open(report, "rb") as stream:
        message = stream.read()
    if message:
        os.waitpid(pid, 0)
        stage, number, text = json.loads(message)
        if stage == "execute":
            raise CommandNotStarted(f"{program.argv[0]}: {os.strerror(number) if number else text}")
        raise EngineFailed(f"cannot start a process for the task: {stage}: {text}")
    return child


def call(rights: Rights, function: Callable[[socket], None]) -> socket:
    """Calls `function` with one end of a socket pair in a process with these rights; returns the other end.

    Raises:
        EngineFailed: no process can be made.
    """
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    parent = os.getpid()
    with _no_process():
        pid = fork_patiently()
    if pid == 0:
        status = 1
        try:
            kept = _keep_only({}, theirs.fileno())
            _become(rights, parent)
            function(socket(fileno=kept))
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    return ours


def _fork(rights: Rights) -> tuple[int, bool]:
    with _no_process():
        return fork(rights.cgroup)


@contextlib.contextmanager
def _no_process() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = EngineExhausted if error.errno in NO_ROOM else EngineFailed
        raise kind(f"cannot start a process for the task: {error}") from error


def _tell_failure(told: int, action: Callable[[int], NoReturn]) -> NoReturn:
    """In the child: whatever goes wrong before the program runs is told to the parent."""
    kept = told
    try:
        kept = _private(told)
        action(kept)
    except _Failed as failure:
        os.write(kept, json.dumps([failure.stage, failure.number, str(failure)]).encode()[:4000])
    except BaseException as error:  # noqa: BLE001 - the child must never return into the parent's code
        os.write(kept, json.dumps(["prepare", 0, repr(error)]).encode()[:4000])
    finally:
        os._exit(127)


class _Failed(Exception):
    def __init__(self, stage: str, number: int, text: str) -> None:
        super().__init__(text)
        self.stage, self.number = stage, number


def _execute(rights: Rights, program: Program, descriptors: Mapping[int, int], kept: int, parent: int,
             born_inside: bool) -> NoReturn:  # fmt: skip
    os.setsid()
    for path in rights.joins:
        path.write_text("0")
    if rights.cgroup and not born_inside:
        Path(rights.cgroup, "cgroup.procs").write_text("0")
    _keep_only(descriptors, kept)
    if program.terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    _forget_signals()
    _limit(rights.most_processes)
    _become(rights, parent)
    try:
        os.chdir(rights.identity.home)
    except OSError as error:
        raise _Failed(f"enter {rights.identity.home}", error.errno or 0, str(error)) from error
    try:
        os.execvpe(program.argv[0], program.argv, dict(program.environment))  # noqa: S606 - this is what a worker does
    except OSError as error:
        raise _Failed("execute", error.errno or errno.EINVAL, str(error)) from error
    except ValueError as error:
        raise _Failed("execute", 0, str(error)) from error


def _become(rights: Rights, parent: int) -> None:
    identity = rights.identity
    os.umask(0o022)
    if rights.change_user:
        os.setgroups([identity.gid, *rights.groups])
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    die_with_parent(parent)


def _keep_only(descriptors: Mapping[int, int], kept: int) -> int:
    """Our descriptors under their new numbers, `kept` under a private one, which is returned; no other stays open."""
    private = kept if kept >= _FIRST_PRIVATE_FD else _private(kept)
    high = {number: _private(fd) for number, fd in descriptors.items()}
    for number, fd in high.items():
        os.dup2(fd, number, inheritable=True)
    below = max(descriptors, default=-1) + 1
    os.closerange(below, private)
    os.closerange(private + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return private


def _private(fd: int) -> int:
    """A copy under a number that is free and that no program is given."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_PRIVATE_FD)


def _forget_signals() -> None:
    """Python ignores SIGPIPE, RQ ignores SIGTERM and SIGINT; a task's program must find them as usual."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is not signal.SIG_DFL and number < signal.SIGRTMIN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    sys.stdout = sys.stderr = None  # the descriptors are the task's now


def _limit(most_processes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if most_processes:
        allowed = resource.getrlimit(resource.RLIMIT_NPROC)[1]  # in a container nobody may raise it
        most = most_processes if allowed == resource.RLIM_INFINITY else min(most_processes, allowed)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ)
