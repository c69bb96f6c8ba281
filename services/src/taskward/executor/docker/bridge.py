"""One interactive shell in a container: a process that passes on what is typed and printed, and reads none of it.

It stands where the shell of a task without a container is: the shell host sees its end as the shell's, signals it as
the shell, and it has the terminal that the gateway writes to, in raw mode. The shell itself has a terminal of the
container's. Signals are how all parts of this process speak: SIGWINCH, the window has another size; SIGHUP, the shell
is not wanted any more; SIGUSR1, it has printed everything.
"""

import contextlib
import fcntl
import os
import signal
import socket
import struct
import termios
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final

from taskward.core.process import die_with_parent
from taskward.core.settings import DockerSettings
from taskward.executor.docker.container import Container
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.execution import Execution, frames
from taskward.executor.engine import Program
from taskward.executor.errors import EngineFailed
from taskward.executor.spawn import Child

SHELLS: Final = (("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh"),)
_CANNOT_START: Final = 126
_HUNG_UP: Final = 128 + signal.SIGHUP
_KILLED: Final = 128 + signal.SIGKILL
_BLOCK_BYTES: Final = 1 << 16
_READY_WITHIN_S: Final = 1.0
_RUNS_WITHIN_S: Final = 60.0
_PAUSE_S: Final = 0.1
_KILLED_AFTER_S: Final = 0.4
_TOLD_WITHIN_S: Final = 10.0
_NOTED_WITHIN_S: Final = 1.0
_SIGNALS: Final = frozenset({signal.SIGHUP, signal.SIGWINCH, signal.SIGUSR1})


Complete = Callable[[Daemon, str, Program], Program]


def _as_it_is(daemon: Daemon, container: str, program: Program) -> Program:
    return program


class Shells:
    """Starts programs in the container `name`; the container may be started a little later.

    `complete` may ask the daemon what a program still lacks; it is called in the program's own process, once the
    container runs.
    """

    def __init__(self, settings: DockerSettings, name: str, complete: Complete = _as_it_is) -> None:
        self._settings, self._name, self._complete = settings, name, complete

    def start(self, program: Program, output: int) -> Child:
        """As engines do; an exit code of 126 says that there is no such program, or no container (any more)."""
        stdin, stderr = program.descriptors[0], program.descriptors.get(2, output)
        if program.terminal:
            _set_raw(stdin, termios.ICANON)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = _CANNOT_START
            try:
                signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
                os.setsid()
                if program.terminal:
                    fcntl.ioctl(stdin, termios.TIOCSCTTY, 0)
                die_with_parent(parent)
                _close_all_but({stdin, output, stderr})
                bridge = Bridge(Daemon(self._settings), self._name, program, stdin, output, stderr)
                code = bridge.run(self._complete)
            finally:
                os._exit(code)
        return Child(pid)


class Bridge:
    """In the process of its own."""

    def __init__(self, daemon: Daemon, name: str, program: Program, stdin: int, stdout: int, stderr: int) -> None:
        self._daemon, self._container, self._program = daemon, Container(daemon, name), program
        self._stdin, self._outputs = stdin, {1: stdout, 2: stderr}

    def run(self, complete: Complete = _as_it_is) -> int:
        """The exit code of the program."""
        try:
            if not self._container_runs():
                return _HUNG_UP
            program = complete(self._daemon, self._container.name, self._program)
            execution = Execution(
                self._daemon, self._container.name, program.argv, program.environment, program.terminal
            )
            connection = execution.start()
            threading.Thread(target=self._print, args=(connection,), daemon=True).start()
            if program.terminal:
                self._resize(execution)
                threading.Timer(_READY_WITHIN_S, self._announce_ready).start()
            threading.Thread(target=self._type, args=(connection,), daemon=True).start()
            return self._watch(execution)
        except EngineFailed as error:
            with contextlib.suppress(OSError):
                os.write(self._outputs[2], f"{error}\r\n".encode())
            return _CANNOT_START

    def _container_runs(self) -> bool:
        """Waits until it does; False when nobody wants to know any more."""
        deadline = time.monotonic() + _RUNS_WITHIN_S
        while (state := self._container.state()) is None or state.status == "created":
            if time.monotonic() > deadline:
                raise EngineFailed("the task's container does not run yet")
            if _next_signal(_PAUSE_S) == signal.SIGHUP:
                return False
        if not state.is_alive:
            raise EngineFailed("the task's container has ended")
        return True

    def _type(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the terminal is hung up, or the program is gone
            while data := os.read(self._stdin, _BLOCK_BYTES):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

    def _print(self, connection: socket.socket) -> None:
        try:
            if self._program.terminal:
                first = connection.recv(1, socket.MSG_PEEK)
                self._announce_ready()
                while first and (data := connection.recv(_BLOCK_BYTES)):
                    _write(self._outputs[1], data)
            else:
                for number, data in frames(connection):
                    _write(self._outputs[number], data)
        except OSError:  # nobody reads it
            os.kill(os.getpid(), signal.SIGHUP)
        else:
            os.kill(os.getpid(), signal.SIGUSR1)

    def _announce_ready(self) -> None:
        """To the gateway, which waits for it: what is typed before the shell has its terminal would be echoed twice."""
        with contextlib.suppress(OSError, termios.error):
            _set_raw(self._stdin, 0)

    def _watch(self, execution: Execution) -> int:
        printed = False
        while True:
            match _next_signal(_PAUSE_S if printed else None):
                case signal.SIGWINCH:
                    self._resize(execution)
                case signal.SIGHUP:
                    _end(execution)
                    return _HUNG_UP
                case signal.SIGUSR1:
                    printed = True
            if printed and not (state := execution.state()).running:
                if state.exit_code == _KILLED and self._container_ends():
                    _next_signal(_TOLD_WITHIN_S)  # the shell host says why, and ends this process
                return state.exit_code & 0xFF

    def _container_ends(self) -> bool:
        """Whether a program was killed for that: the daemon takes note of the container a moment later."""
        deadline = time.monotonic() + _NOTED_WITHIN_S
        while (state := self._container.state()) is not None and state.is_alive:
            if time.monotonic() > deadline or _next_signal(_PAUSE_S / 4) == signal.SIGHUP:
                return False
        return True

    def _resize(self, execution: Execution) -> None:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(self._stdin, termios.TIOCGWINSZ, bytes(8)))
        with contextlib.suppress(EngineFailed):  # it has just ended
            execution.resize(rows, columns)


def _end(execution: Execution) -> None:
    """Hangs the program up, and kills it if it does not care; what it has sent into the background stays, as usual."""
    state = execution.state()
    if not state.running or not state.pid or not _is_in(state.pid, state.container_id):
        return
    _strike(state.pid, signal.SIGHUP)
    _strike(state.pid, signal.SIGCONT)
    deadline = time.monotonic() + _KILLED_AFTER_S
    while time.monotonic() < deadline and _is_in(state.pid, state.container_id):
        time.sleep(_PAUSE_S / 4)
    if _is_in(state.pid, state.container_id):
        _strike(state.pid, signal.SIGKILL)


def _is_in(pid: int, container_id: str) -> bool:
    """Whether the number means a process of that container; never where the daemon counts processes by itself."""
    try:
        return container_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def _strike(pid: int, number: int) -> None:
    send: Callable[[int, int], None] = os.kill
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            send = os.killpg
        send(pid, number)


def _next_signal(within_s: float | None) -> int | None:
    if within_s is None:
        return signal.sigwait(_SIGNALS)
    found = signal.sigtimedwait(_SIGNALS, within_s)
    return found.si_signo if found else None


def _set_raw(fd: int, kept: int) -> None:
    """Passes on every byte as it is, but for what the local flags `kept` say; loses none."""
    tty.setraw(fd, termios.TCSANOW)
    modes = termios.tcgetattr(fd)
    modes[tty.LFLAG] |= kept
    termios.tcsetattr(fd, termios.TCSANOW, modes)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _close_all_but(kept: set[int]) -> None:
    """Ends of other shells: while they are open here, nobody sees that they are closed."""
    for fd in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if fd > 2 and fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)
