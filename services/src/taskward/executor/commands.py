"""Runs a payload's commands one after the other, with the lines that generic-worker writes around each."""

import contextlib
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from taskward.core.outcome import Outcome, exception, failed
from taskward.executor.duration import go_duration
from taskward.executor.engine import Cpu, Ended, Engine, Process, Program
from taskward.executor.environment import PATH
from taskward.executor.errors import CommandNotStarted, TaskEnded
from taskward.executor.payload import Payload
from taskward.executor.tasklog import TaskLog
from taskward.executor.watch import Watch

_LONGEST_STATUS: Final = 8

# One shell for the whole script, so that everything carries over. It takes a line of descriptor 5 as leave to go on,
# the next piece from descriptor 3, and tells its status on 4; the pieces themselves see none of them.
_SHELL: Final = (
    'while IFS= read -r -u 5 TASKWARD_PIECE && IFS= read -r -d "" -u 3 TASKWARD_PIECE; do '
    'eval "$TASKWARD_PIECE" 3<&- 4>&- 5<&-; '
    'builtin printf "%d\\n" "$?" >&4; done'
)


Used = Callable[[], Mapping[str, str]]


class Commands:
    """All commands of one run. After each, `used` is asked for more rows of its block, as label → value.

    Attributes:
        last_exit_code: of the command that ended last; None before one has.
        aborted: whether one was stopped before it ended.
    """

    def __init__(self, payload: Payload, engine: Engine, log: TaskLog, watch: Watch, used: Used = dict) -> None:
        self._payload, self._engine, self._log, self._watch, self._used = payload, engine, log, watch, used
        self.last_exit_code: int | None = None
        self.aborted = False

    def run(self, environment: Mapping[str, str]) -> None:
        """Until all have succeeded.

        Raises:
            TaskEnded: one failed, or the run must stop; processes may be left for the engine to kill.
        """
        if self._payload.script:
            Script(self._payload.script, self, self._engine, self._log).run(environment)
        for number, argv in enumerate(self._payload.commands):
            self.announce(number, shlex.join(argv))
            began = time.monotonic()
            process = self.start(Program(argv, environment))
            self.wait({process.fileno()}, began)
            self.report(_end(process), began)

    def announce(self, number: int, text: str) -> None:
        """The line before a command."""
        self._watch.check()
        self._log.info(f"Executing command {number}: {text}")

    def start(self, program: Program) -> Process:
        """Starts it.

        Raises:
            TaskEnded: it cannot be executed, which is the task's failure.
        """
        try:
            return self._engine.start(program, self._log.fd)
        except CommandNotStarted as error:
            text = f"System error executing command: {error}"
            self._log.info(text)
            raise TaskEnded(failed(text)) from error

    def wait(self, files: set[int], began: float) -> set[int]:
        """Those of `files` that are readable.

        Raises:
            TaskEnded: the run must stop.
        """
        try:
            return self._watch.wait(files)
        except TaskEnded:
            self.aborted = True
            self._log.error("Aborting task...")
            self._log.info(f"Command ABORTED after {go_duration(time.monotonic() - began)}: process aborted")
            if used := self._used():
                self._log.info(_block(used))
            raise

    def report(self, ended: Ended, began: float) -> None:
        """The block after a command.

        Raises:
            TaskEnded: it failed.
        """
        self.last_exit_code = ended.exit_code
        rows = {
            "Exit Code": str(ended.exit_code),
            "User Time": go_duration(round(ended.cpu.user_s, 6)),
            "Kernel Time": go_duration(round(ended.cpu.kernel_s, 6)),
            "Wall Time": go_duration(round(time.monotonic() - began, 6)),
            **self._used(),
            "Result": "FAILED" if ended.exit_code else "SUCCEEDED",
        }
        self._log.info(_block(rows))
        if ended.exit_code:
            raise TaskEnded(self._failure(ended))

    def _failure(self, ended: Ended) -> Outcome:
        if ended.signal:
            return failed(f"signal: {(signal.strsignal(ended.signal) or str(ended.signal)).lower()}{self._memory()}")
        if ended.exit_code in self._payload.retry_codes:
            text = (
                f"task appears to have failed intermittently - exit code {ended.exit_code} found in "
                "task payload.onExitStatus list"
            )
            return exception("intermittent-task", text)
        return failed(f"exit status {ended.exit_code}{self._memory()}")

    def _memory(self) -> str:
        remains = self._engine.remains()
        if not remains.oom_kills:
            return ""
        peak = f", at most {remains.memory_peak_bytes} bytes were in use" if remains.memory_peak_bytes else ""
        return f" (out of memory: the kernel killed {remains.oom_kills} of the task's processes{peak})"


class Script:
    """String commands: pieces of one shell script, each with its own lines in the log."""

    def __init__(self, pieces: tuple[str, ...], commands: Commands, engine: Engine, log: TaskLog) -> None:
        self._pieces, self._commands, self._engine, self._log = pieces, commands, engine, log
        self._used = Cpu(0, 0)

    def run(self, environment: Mapping[str, str]) -> None:
        """Until the script has ended or a piece has failed.

        Raises:
            TaskEnded: as `Commands.run`.
        """
        script, (status, told), (leave, go) = self._file(), os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        try:
            bash = shutil.which("bash", path=PATH) or "bash"
            program = Program((bash, "-c", _SHELL, "script"), environment, {3: script, 4: told, 5: leave})
            shell = self._commands.start(program)
        finally:
            for descriptor in (script, told, leave):
                os.close(descriptor)
        try:
            if self._all_pieces(shell, status, go):
                return
        finally:
            os.close(go)
            os.close(status)
        began = time.monotonic()
        self._commands.wait({shell.fileno()}, began)
        ended = _end(shell)
        if ended.exit_code:
            self._commands.report(ended, began)

    def _all_pieces(self, shell: Process, status: int, go: int) -> bool:
        """Whether the shell ended before all pieces were run."""
        for number, piece in enumerate(self._pieces):
            self._commands.announce(number, piece)
            began = time.monotonic()
            with contextlib.suppress(BrokenPipeError):  # the shell has ended by itself, as `wait` will see
                os.write(go, b"\n")
            ready = self._commands.wait({status, shell.fileno()}, began)
            text = os.read(status, _LONGEST_STATUS) if status in ready else b""
            if text.strip():
                self._commands.report(self._piece_ended(shell, text), began)
                continue
            self._commands.wait({shell.fileno()}, began)
            self._commands.report(_end(shell), began)
            if left := len(self._pieces) - number - 1:
                self._log.warn(f"the script ended itself here; {left} more of its lines were not executed")
            return True
        return False

    def _piece_ended(self, shell: Process, text: bytes) -> Ended:
        used = shell.cpu()
        since, self._used = used.since(self._used), used
        code = int(text) if text.strip().isdigit() else 1
        return Ended(code, 0, since)

    def _file(self) -> int:
        """All pieces, each ended by NUL, in memory."""
        fd = os.memfd_create("script", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(fd), "wb") as stream:
            stream.write(b"".join(piece.encode() + b"\0" for piece in self._pieces))
        os.lseek(fd, 0, os.SEEK_SET)
        return fd


def _block(rows: Mapping[str, str]) -> str:
    return "\n".join(f"{label:>12}: {value}" for label, value in rows.items())


def _end(process: Process) -> Ended:
    ended = process.ended()
    while ended is None:  # its descriptor was readable, so the kernel is just about to tell
        time.sleep(0.001)
        ended = process.ended()
    return ended
