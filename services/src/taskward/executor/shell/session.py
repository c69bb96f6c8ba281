"""One interactive shell (or view of a display): its program, its terminal or pipes, and who is connected to it."""

import contextlib
import fcntl
import os
import secrets
import signal
import struct
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from socket import socket
from typing import Final

from taskward.core.shell import Open, Show
from taskward.executor.engine import Identity, Program
from taskward.executor.errors import CommandNotStarted, EngineFailed
from taskward.executor.spawn import Child

SHELLS: Final = (("bash",), ("sh",))
KILLED_AFTER_S: Final = 1.0
_FIRST_SIZE: Final = struct.pack("HHHH", 24, 80, 0, 0)
_SESSION_BYTES: Final = 16


def _show_nothing(wish: Show, descriptors: Mapping[int, int], output: int) -> Child:
    raise EngineFailed("this worker does not offer it")


@dataclass(frozen=True)
class Starter:
    """Starts programs in the task.

    Attributes:
        start: the engine's.
        identity: who owns terminals and pipes.
        environment: the task's own variables.
        shells: what to start where nothing is asked for; the first that is there.
        show: starts what a `Show` asks for with these descriptors and this output; raises as `start` does.
    """

    start: Callable[[Program, int], Child]
    identity: Identity
    environment: Mapping[str, str]
    shells: tuple[tuple[str, ...], ...] = SHELLS
    show: Callable[[Show, Mapping[int, int], int], Child] = _show_nothing


class Session:
    """A shell, from its start until its process was reaped and nobody waits for its last output.

    Attributes:
        connection: the gateway's, or None while nobody is connected.
        resume_s: how long it waits for the next one.
        until_s: when it is ended (or, once ended, killed) by the clock of the host; None for never.
        exit_code: None while it runs.
        counts: whether a task may be kept for it: not for a program that only looks what there is.
    """

    def __init__(self, process: Child, kept: int | None, resume_s: float, *, counts: bool = True) -> None:
        self.name = secrets.token_urlsafe(_SESSION_BYTES)
        self.process, self._kept, self.counts = process, kept, counts
        self.resume_s = resume_s if kept is not None else 0.0
        self.connection: socket | None = None
        self.until_s: float | None = None
        self.exit_code: int | None = None
        self.ending = False

    @property
    def terminal(self) -> int | None:
        """Our copy of the terminal's end, by which the shell outlives the gateway; None for pipes."""
        return self._kept

    def look(self) -> bool:
        """Takes note when the program has ended; whether it has."""
        ended = self.process.ended()
        if ended is not None and self.exit_code is None:
            self.exit_code = 128 + ended.signal if ended.signal else ended.exit_code
        return ended is not None

    def hang_up(self) -> None:
        """What a terminal does when its user leaves."""
        self._signal(signal.SIGHUP, signal.SIGCONT)

    def kill(self) -> None:
        """For a shell that does not care."""
        self._signal(signal.SIGKILL)

    def forget(self) -> None:
        """Closes what we hold of it."""
        if self._kept is not None:
            os.close(self._kept)
            self._kept = None

    def _signal(self, *numbers: signal.Signals) -> None:
        if self.exit_code is None:  # else its number may belong to somebody else
            for number in numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, number)


def open_session(wish: Open | Show, starter: Starter) -> tuple[Session, list[int]]:
    """A new shell or view of a display, and the descriptors for the gateway; the caller closes them once they are sent.

    Raises:
        CommandNotStarted: there is no such program.
        EngineFailed: this machine cannot start it.
        OSError: no descriptors or terminals are left.
    """
    if isinstance(wish, Open) and wish.terminal:
        return _with_terminal(wish, starter)
    if isinstance(wish, Open):
        return _with_pipes(partial(_start, starter, wish), starter.identity)
    return _with_pipes(partial(starter.show, wish), starter.identity, counts=bool(wish.display))


def _with_terminal(wish: Open, starter: Starter) -> tuple[Session, list[int]]:
    ours, theirs = os.openpty()
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(os.close, theirs)
        unless_started = cleanup.enter_context(contextlib.ExitStack())
        unless_started.callback(os.close, ours)
        _give(theirs, starter.identity)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, _FIRST_SIZE)
        process = _start(starter, wish, {0: theirs}, theirs)
        unless_started.pop_all()
    return Session(process, ours, wish.resume_s), [os.dup(ours)]


def _with_pipes(
    start: Callable[[Mapping[int, int], int], Child], identity: Identity, *, counts: bool = True
) -> tuple[Session, list[int]]:
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        ends = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = ends
        for fd in (stdin, stdout, stderr):
            theirs.callback(os.close, fd)
            _give(fd, identity)
        for fd in (to_stdin, from_stdout, from_stderr):
            ours.callback(os.close, fd)
        process = start({0: stdin, 2: stderr}, stdout)
        ours.pop_all()
    return Session(process, None, 0.0, counts=counts), [to_stdin, from_stdout, from_stderr]


def _give(fd: int, identity: Identity) -> None:
    """To the task's user alone: its programs may open it again by name."""
    os.fchown(fd, identity.uid, identity.gid)
    os.fchmod(fd, 0o600)


def _start(starter: Starter, wish: Open, descriptors: Mapping[int, int], output: int) -> Child:
    environment = {**starter.environment, "TERM": "xterm-256color"} if wish.terminal else starter.environment
    candidates = (wish.argv,) if wish.argv else starter.shells
    for number, argv in enumerate(candidates, 1):
        program = Program(argv, environment, descriptors, terminal=wish.terminal)
        try:
            return starter.start(program, output)
        except CommandNotStarted:
            if number == len(candidates):
                raise
    raise AssertionError("there is always a candidate")
