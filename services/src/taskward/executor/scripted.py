"""An engine that starts nothing: programs do what a script says. For tests of what stands above an engine.

A script maps the name of a program (``argv[0]``) to its `Part`; files of the task lie in a real directory, so that
artifacts can be collected.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Final

from taskward.executor import account, spawn
from taskward.executor.engine import Cpu, Ended, Identity, Program, Remains, Usage
from taskward.executor.errors import CommandNotStarted, EngineFailed
from taskward.executor.litter import remove_tree
from taskward.executor.native import make_parent

_KILLED: Final = Ended(-1, 9, Cpu(0, 0))


@dataclass(frozen=True)
class Part:
    """What a program does.

    Attributes:
        output: what it prints.
        exit_code: how it ends.
        endless: it prints, and ends only when it is killed.
    """

    output: str = ""
    exit_code: int = 0
    endless: bool = False


class ScriptedProcess:
    """See `engine.Process`."""

    def __init__(self, part: Part) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        self._ended: Ended | None = None
        if not part.endless:
            self.end(Ended(part.exit_code, 0, Cpu(0, 0)))

    def fileno(self) -> int:
        """The end of a pipe whose other end is closed when the program ends."""
        return self._read

    def ended(self) -> Ended | None:
        """How, or None."""
        return self._ended

    def cpu(self) -> Cpu:
        """None was used."""
        return Cpu(0, 0)

    def end(self, how: Ended) -> None:
        """Ends it, unless it has ended."""
        if self._ended is None:
            self._ended = how
            os.close(self._write)


class ScriptedEngine:
    """See `engine.Engine`; tasks are the current user."""

    name = "scripted"
    isolated = False

    def __init__(self, home: Path, script: Mapping[str, Part]) -> None:
        self._home, self._script = home, script
        self._processes: list[ScriptedProcess] = []

    @property
    def identity(self) -> Identity:
        """The current user."""
        return Identity(account.own_name(), os.getuid(), os.getgid(), self._home)

    def prepare(self) -> tuple[str, ...]:
        """Makes the directory."""
        try:
            make_parent(self._home.parent)
            self._home.mkdir(mode=0o700)
        except OSError as error:
            raise EngineFailed(f"cannot prepare the task's directory {self._home}: {error.strerror}") from error
        return ()

    def start(self, program: Program, log_fd: int) -> ScriptedProcess:
        """Plays the program's part."""
        part = self._script.get(program.argv[0])
        if part is None:
            raise CommandNotStarted(f"{program.argv[0]}: No such file or directory")
        os.write(log_fd, part.output.encode())
        self._processes.append(ScriptedProcess(part))
        return self._processes[-1]

    def join(self, groups: Sequence[str]) -> None:
        """Nobody joins anything."""

    def keep_own_rights(self) -> None:
        """Tasks have them anyway."""

    def kill(self) -> None:
        """Ends the endless."""
        for process in self._processes:
            process.end(_KILLED)

    def as_task(self, function: Callable[[socket], None]) -> socket:
        """In a real process of the current user."""
        rights = spawn.Rights(self.identity, change_user=False, cgroup="", joins=(), most_processes=0)
        return spawn.call(rights, function)

    def usage(self) -> Usage:
        """Nothing is known."""
        return Usage(None, None)

    def remains(self) -> Remains:
        """Nothing is known."""
        return Remains(None, None)

    def remove(self) -> None:
        """Takes the directory away."""
        remove_tree(self._home)
