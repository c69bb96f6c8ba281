"""Where the commands of one run happen. Implementations: `native`, and `scripted` for tests of what stands above.

An engine belongs to one run and is used by one process and one thread. The order of calls is::

    prepare → join, keep_own_rights → start … (one process after the other) → kill → as_task … → remove

`kill` and `remove` may come at any time, several times, and from another process than the one that prepared (after a
crash): then they work on whatever is left of the run. After `kill` has returned, nothing of the run executes; `start`
must not be called any more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Protocol


@dataclass(frozen=True)
class Program:
    """What to execute.

    Attributes:
        argv: the program and its arguments; without a slash it is looked up in the environment's PATH.
        environment: all of it; nothing is inherited.
        descriptors: more open files, by the number that the program knows them by → our descriptor; 0 to 2 replace
            the empty input and the log.
        terminal: standard input is a terminal that shall be the program's controlling one.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    descriptors: Mapping[int, int] = field(default_factory=dict)
    terminal: bool = False


@dataclass(frozen=True)
class Cpu:
    """Processor time in seconds, of a process and the children that it waited for."""

    user_s: float
    kernel_s: float

    def since(self, earlier: "Cpu") -> "Cpu":
        """What was used after `earlier`."""
        return Cpu(max(0.0, self.user_s - earlier.user_s), max(0.0, self.kernel_s - earlier.kernel_s))


@dataclass(frozen=True)
class Ended:
    """How a process ended; `exit_code` is −1 when a signal ended it."""

    exit_code: int
    signal: int
    cpu: Cpu


class Process(Protocol):
    """A started program. Its descendants may outlive it until the engine's `kill`."""

    def fileno(self) -> int:
        """A descriptor that is readable once the program has ended."""
        ...

    def ended(self) -> Ended | None:
        """How it ended; None while it runs. The same answer for ever after."""
        ...

    def cpu(self) -> Cpu:
        """What it has used so far."""
        ...


@dataclass(frozen=True)
class Remains:
    """What the machine still knows of a run that is dead; None where it does not know."""

    oom_kills: int | None
    memory_peak_bytes: int | None


@dataclass(frozen=True)
class Usage:
    """What all processes of a run use now (memory) and have used (processor); None where it cannot be told."""

    memory_bytes: int | None
    cpu_s: float | None


@dataclass(frozen=True)
class Identity:
    """Who the task is on this machine."""

    user: str
    uid: int
    gid: int
    home: Path


class Engine(Protocol):
    """See the module's text for the order of calls."""

    name: str

    @property
    def isolated(self) -> bool:
        """Whether the task's user may do less than the worker's."""
        ...

    @property
    def identity(self) -> Identity:
        """User and directory of the run.

        Raises:
            EngineFailed: there are none (yet, or any more).
        """
        ...

    def prepare(self) -> tuple[str, ...]:
        """Makes the task's user, directory and limits; returns warnings for the task's log.

        Raises:
            EngineFailed: this machine cannot; `remove` clears what was made.
        """
        ...

    def start(self, program: Program, log_fd: int) -> Process:
        """Starts a program with the task's rights in the task's directory; its output goes to `log_fd`.

        Raises:
            CommandNotStarted: no such program, or not executable for the task.
            EngineFailed: this machine cannot start processes for the task.
        """
        ...

    def join(self, groups: Sequence[str]) -> None:
        """Makes the task's user a member of these groups of the system; for programs that start later.

        Raises:
            EngineFailed: this machine cannot.
        """
        ...

    def keep_own_rights(self) -> None:
        """Programs that start later have the rights of the worker instead of the task's."""
        ...

    def kill(self) -> None:
        """Ends every process of the run; none is left when it returns.

        Raises:
            EngineFailed: some cannot be killed; nothing of the run may be trusted or removed.
        """
        ...

    def as_task(self, function: Callable[[socket], None]) -> socket:
        """Calls `function` in a process with the task's rights and no open file but a SOCK_SEQPACKET pair's end.

        Returns the other end; closing it ends the process.

        Raises:
            EngineFailed: no such process can be started.
        """
        ...

    def usage(self) -> Usage:
        """What the run uses now; cheap, but not free where no control group counts."""
        ...

    def remains(self) -> Remains:
        """What can be told of the run's end; callable until `remove`."""
        ...

    def remove(self) -> None:
        """Takes the directory, the user and the limits away; what cannot be removed now is left for a later call."""
        ...
