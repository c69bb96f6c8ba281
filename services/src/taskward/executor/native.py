"""The engine without containers: as root a fresh OS user, directory and control group for each run.

As an ordinary user the tasks run as that user, which isolates nothing; the task's log says so.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import socket
from typing import Final

from taskward.core.ids import RunId
from taskward.core.layout import Layout
from taskward.core.settings import ExecutorSettings
from taskward.core.space import NO_SPACE
from taskward.executor import account, ceiling, litter, processes, spawn
from taskward.executor.cgroup import Cgroup
from taskward.executor.engine import Identity, Program, Remains, Usage
from taskward.executor.errors import EngineExhausted, EngineFailed
from taskward.executor.mounts.table import detach_below

_KILL_WITHIN_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.0005
_LONGEST_PAUSE_S: Final = 0.05


class NativeEngine:
    """See `engine.Engine`."""

    name = "native"

    def __init__(self, run: RunId, layout: Layout, settings: ExecutorSettings) -> None:
        self._run, self._settings = run, settings
        self._home = layout.task_directory(run)
        self._counter = layout.state_dir / "locks" / "accounts"
        self._cgroup = Cgroup(layout.state_dir, run.directory)
        self._is_root = os.geteuid() == 0
        self._account: account.Account | None = None
        self._unlimited: list[str] = []
        self._started: list[spawn.Child] = []
        self._groups: tuple[int, ...] | None = None
        self._own_rights = False
        self._older: set[int] | None = None  # descendants of this process that are not of the run

    @property
    def isolated(self) -> bool:
        """As root, yes."""
        return self._is_root

    @property
    def identity(self) -> Identity:
        """User and directory."""
        if not self._is_root:
            return Identity(account.own_name(), os.getuid(), os.getgid(), self._home)
        user = self._user()
        if user is None:
            raise EngineFailed(f"the user of run {self._run} is gone")
        return Identity(user.name, user.uid, user.gid, self._home)

    def prepare(self) -> tuple[str, ...]:
        """User, directory, control group."""
        processes.adopt_orphans()
        if self._is_root:
            litter.keep_objects_apart()
        self._older = processes.descendants(os.getpid())
        try:
            self._unlimited = self._cgroup.create(self._settings.memory_limit_bytes, self._settings.pids_limit)
            if self._is_root:
                self._account = account.find(self._home) or account.create(self._run, self._home, self._counter)
            make_parent(self._home.parent)
            self._home.mkdir(mode=0o700)
            os.chown(self._home, self.identity.uid, self.identity.gid)
        except OSError as error:
            kind = EngineExhausted if error.errno in NO_SPACE else EngineFailed
            raise kind(f"cannot prepare the task's directory {self._home}: {error.strerror}") from error
        return tuple(self._warnings())

    def start(self, program: Program, log_fd: int) -> spawn.Child:
        """A new session; see `spawn`."""
        process = spawn.start(self._rights(), program, log_fd)
        self._started = [each for each in self._started if each.ended() is None] + [process]
        return process

    def join(self, groups: Sequence[str]) -> None:
        """In the system's database, where later processes find it, too."""
        account.join(self.identity.user, groups)
        self._groups = None

    def keep_own_rights(self) -> None:
        """As root they are root's; nothing of the task may leave its control group then, or it outlives the task."""
        self._own_rights = True

    def kill(self) -> None:
        """Control group first, then whatever else the user has; until nothing is found."""
        deadline, pause_s = time.monotonic() + _KILL_WITHIN_S, _FIRST_PAUSE_S
        while True:
            self._cgroup.kill()
            self._reap()
            survivors = self._survivors()
            if not survivors:
                return
            if time.monotonic() > deadline:
                raise EngineFailed(f"processes of run {self._run} cannot be killed: {sorted(survivors)[:20]}")
            self._strike(survivors)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def revive(self) -> None:
        """After `kill`, and everything that reads what is left: programs can be started again, until the next `kill`.

        In a new control group: some kernels kill whatever is born into one that was killed before.
        """
        self._cgroup.remove()
        self._cgroup.create(self._settings.memory_limit_bytes, self._settings.pids_limit)

    def as_task(self, function: Callable[[socket], None]) -> socket:
        """A forked process with the task's user; it is in no control group, since it works for us."""
        return spawn.call(self._rights(), function)

    def usage(self) -> Usage:
        """As the control group counts; what it does not count is summed up over the run's processes."""
        memory_bytes, cpu_s = self._cgroup.memory_bytes(), self._cgroup.cpu_s()
        if memory_bytes is None or cpu_s is None:
            living = processes.usage(self._cgroup.members() or self._new_descendants())
            memory_bytes = living.memory_bytes if memory_bytes is None else memory_bytes
            cpu_s = living.cpu_s if cpu_s is None else cpu_s
        return Usage(memory_bytes, cpu_s)

    def remains(self) -> Remains:
        """What the control group counted."""
        return Remains(self._cgroup.oom_kills(), self._cgroup.memory_peak_bytes())

    def remove(self) -> None:
        """The directory first: as long as it is there, a later sweep finds the run."""
        self._reap()
        try:
            detach_below(self._home)
        except OSError as error:
            raise EngineFailed(f"what is mounted in {self._home} cannot be unmounted: {error.strerror}") from error
        litter.remove_tree(self._home)
        self._cgroup.remove()
        user = self._user() if self._is_root else None
        if user is not None:
            litter.remove_files(user.uid)
            account.remove(user)
            self._account = None

    def _user(self) -> account.Account | None:
        """Of the run, where the worker is root; None before it is made and when it is gone."""
        self._account = self._account or account.find(self._home)
        return self._account

    def _reap(self) -> None:
        """Started programs keep how they ended; the orphans of the task are of no interest."""
        awaited = {process.pid: process.ended for process in self._started if process.ended() is None}
        processes.reap_orphans(awaited)

    def _rights(self) -> spawn.Rights:
        entries = self._cgroup.entries
        version_2 = next((path.parent for path in entries if (path.parent / "cgroup.kill").exists()), None)
        return spawn.Rights(
            identity=self.identity,
            change_user=self._is_root and not self._own_rights,
            cgroup=str(version_2 or ""),
            joins=tuple(path for path in entries if path.parent != version_2),
            most_processes=self._most_processes(),
            groups=self._supplementary(),
        )

    def _most_processes(self) -> int:
        """For the limit by user, which costs nothing; as an ordinary user, the worker's own processes would count."""
        by_cgroup = self._settings.pids_limit and "pids_limit" not in self._unlimited
        return ceiling.most_processes(self._settings.pids_limit) if self._is_root and not by_cgroup else 0

    def _supplementary(self) -> tuple[int, ...]:
        """What the database says, so that any process that works for the run finds the same."""
        if not self._is_root:
            return ()
        if self._groups is None:
            identity = self.identity
            self._groups = tuple(gid for gid in os.getgrouplist(identity.user, identity.gid) if gid != identity.gid)
        return self._groups

    def _survivors(self) -> set[int]:
        found = self._cgroup.members()
        if not self._is_root:
            found |= processes.with_variable(f"TASK_WORKDIR={self._home}")
            return found | self._new_descendants()
        user = self._user()
        if user is not None:
            found |= processes.of_user(user.uid)
        return found | self._new_descendants() if self._own_rights else found

    def _new_descendants(self) -> set[int]:
        return set() if self._older is None else processes.descendants(os.getpid()) - self._older

    def _strike(self, survivors: set[int]) -> None:
        user = self._user() if self._is_root else None
        if user is not None:
            processes.kill_user(user.uid, user.gid)
        if self._own_rights or not self._is_root:
            processes.kill_each(survivors)

    def _warnings(self) -> list[str]:
        warnings = [f"[executor] {name} is set, but this system cannot enforce it" for name in self._unlimited]
        if self._is_root:
            return [text for text in warnings if "pids_limit" not in text]
        return [
            f"This worker does not run as root: the task runs as user {account.own_name()}, there is no isolation "
            "between tasks, nor between tasks and the worker",
            *warnings,
        ]


def make_parent(tasks: Path) -> None:
    """Where the directories of tasks lie: a task may pass through, not list them."""
    if not tasks.is_dir():
        tasks.mkdir(parents=True, exist_ok=True)
        tasks.chmod(0o711)
