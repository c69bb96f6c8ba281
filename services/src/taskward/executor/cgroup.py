"""A control group for each run: kills all of it at once, limits memory and processes, counts what the kernel killed.

Version 2 is used where it is mounted (even beside version 1, where it has no controllers but can still kill); limits
come from version 2 or, where that has no such controller, from version 1. Whatever is not there or not writable is
left out.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from taskward.core.poll import until

_MOUNTS: Final = Path("/proc/self/mounts")
_PROCS: Final = "cgroup.procs"
_REMOVE_WITHIN_S: Final = 1.0
_ATTEMPTS: Final = 10


@dataclass(frozen=True)
class Hierarchies:
    """Where this system has its control groups; None where it has not."""

    unified: Path | None
    memory: Path | None
    pids: Path | None
    others: tuple[Path, ...] = field(default=(), compare=False)

    @classmethod
    def find(cls, mounts: bytes | None = None) -> "Hierarchies":
        """From the mount table, in which tasks have places of their own making: any bytes but blanks and line feeds."""
        found: dict[str, Path] = {}
        others: list[Path] = []
        for line in (mounts if mounts is not None else _MOUNTS.read_bytes()).split(b"\n")[:-1]:
            _, place, kind, options, *_ = line.split(b" ")
            if kind == b"cgroup2":
                found.setdefault("unified", Path(os.fsdecode(place)))
            elif kind == b"cgroup":
                others.append(Path(os.fsdecode(place)))
                for controller in {b"memory", b"pids"} & set(options.split(b",")):
                    found.setdefault(controller.decode(), Path(os.fsdecode(place)))
        return cls(found.get("unified"), found.get("memory"), found.get("pids"), tuple(others))


class Cgroup:
    """The control group of one run; every method may be called when nothing was made, or twice."""

    def __init__(self, state_dir: Path, name: str, hierarchies: Hierarchies | None = None) -> None:
        system = hierarchies or Hierarchies.find()
        self._parents = {
            kind: place / parent_name(state_dir)
            for kind, place in (("unified", system.unified), ("memory", system.memory), ("pids", system.pids))
            if place is not None
        }
        self._others = [place / parent_name(state_dir) for place in system.others]
        self._name = name

    def create(self, memory_limit_bytes: int, pids_limit: int) -> list[str]:
        """Makes it; 0 is no limit. Returns the limits that this system could not set.

        Version 1 is used for limits only, since a process can join it no sooner than after its birth (`clone.py`).
        """
        wanted = {"unified": True, "memory": memory_limit_bytes > 0, "pids": pids_limit > 0}
        for kind in [*self._parents]:
            if not wanted[kind] or not self._make(kind):
                del self._parents[kind]
        missing = []
        if memory_limit_bytes and not self._limit_memory(memory_limit_bytes):
            missing.append("memory_limit_bytes")
        if pids_limit and not self._write(("unified", "pids.max"), ("pids", "pids.max"), value=str(pids_limit)):
            missing.append("pids_limit")
        return missing

    @property
    def exists(self) -> bool:
        """Whether it was made, by whomever: not where this process may not, as in a container."""
        return any(self._path(kind).is_dir() for kind in self._parents)

    @property
    def entries(self) -> list[Path]:
        """Files that a process writes ``0`` into to be a member."""
        return [path for path in (self._path(kind, _PROCS) for kind in self._parents) if path.exists()]

    def kill(self) -> bool:
        """SIGKILL to every member at once, forks included; False when this system cannot.

        What version 1 has frozen would not die before somebody lets it go on.
        """
        for parent in self._others:
            for path in _below(parent / self._name, "freezer.state"):
                with contextlib.suppress(OSError):
                    path.write_text("THAWED")
        return self._write(("unified", "cgroup.kill"), value="1")

    def members(self) -> set[int]:
        """Living processes in it, and in groups below it."""
        found: set[int] = set()
        for kind in self._parents:
            for path in _below(self._path(kind), _PROCS):
                with contextlib.suppress(OSError):
                    found |= {int(pid) for pid in path.read_text().split()}
        return found

    def oom_kills(self) -> int | None:
        """How many processes the kernel killed for lack of memory."""
        return self._count(("unified", "memory.events"), ("memory", "memory.oom_control"))

    def memory_peak_bytes(self) -> int | None:
        """The most memory that the run had at once."""
        for kind, name in (("unified", "memory.peak"), ("memory", "memory.max_usage_in_bytes")):
            with contextlib.suppress(OSError, KeyError, ValueError):
                return int(self._path(kind, name).read_text())
        return None

    def memory_bytes(self) -> int | None:
        """The memory that the run has now, file cache included."""
        for kind, name in (("unified", "memory.current"), ("memory", "memory.usage_in_bytes")):
            with contextlib.suppress(OSError, KeyError, ValueError):
                return int(self._path(kind, name).read_text())
        return None

    def cpu_s(self) -> float | None:
        """Processor time of all its processes, dead ones included; version 2 counts it without any controller."""
        used = self._count(("unified", "cpu.stat"), field="usage_usec")
        return None if used is None else used / 1e6

    def remove(self) -> None:
        """Takes it away, in every hierarchy: a container's daemon makes it in all of them, and leaves it there.

        The kernel may need a moment after the last member has died.
        """
        deadline = time.monotonic() + _REMOVE_WITHIN_S
        for parent in {*self._parents.values(), *self._others}:
            until(partial(_remove, parent / self._name), deadline - time.monotonic(), pause_s=0.005)
            _rmdir(parent)  # refused while another run is there

    def _make(self, kind: str) -> bool:
        for _ in range(_ATTEMPTS):  # the last run of another executor may be taking the parent away
            with contextlib.suppress(OSError):
                self._parents[kind].mkdir(exist_ok=True)
                if kind == "unified":
                    self._delegate()
                self._path(kind).mkdir(exist_ok=True)
                return True
        return False

    def _delegate(self) -> None:
        """Version 2 hands controllers down level by level; refused where version 1 has them."""
        for place in (self._parents["unified"].parent, self._parents["unified"]):
            with contextlib.suppress(OSError):
                (place / "cgroup.subtree_control").write_text("+memory +pids")

    def _limit_memory(self, limit_bytes: int) -> bool:
        done = self._write(("unified", "memory.max"), ("memory", "memory.limit_in_bytes"), value=str(limit_bytes))
        self._write(("unified", "memory.swap.max"), value="0")
        self._write(("memory", "memory.memsw.limit_in_bytes"), value=str(limit_bytes))
        return done

    def _write(self, *places: tuple[str, str], value: str = "") -> bool:
        """Into the first of `places` that takes it."""
        for kind, name in places:
            with contextlib.suppress(OSError, KeyError):
                path = self._path(kind, name)
                if path.exists():
                    path.write_text(value)
                    return True
        return False

    def _count(self, *places: tuple[str, str], field: str = "oom_kill") -> int | None:
        for kind, name in places:
            with contextlib.suppress(OSError, KeyError, ValueError):
                fields = dict(line.split() for line in self._path(kind, name).read_text().splitlines())
                return int(fields[field])
        return None

    def _path(self, kind: str, name: str = "") -> Path:
        return self._parents[kind] / self._name / name


def parent_name(state_dir: Path) -> str:
    """Control groups of one worker lie together, apart from those of another on the same host."""
    return f"taskward-{hashlib.sha256(bytes(state_dir)).hexdigest()[:12]}"


def names(state_dir: Path) -> set[str]:
    """The runs that have a control group."""
    system = Hierarchies.find()
    parents = (place / parent_name(state_dir) for place in (system.unified, system.memory, system.pids) if place)
    return {each.name for parent in parents if parent.is_dir() for each in _directories(parent)}


def _directories(parent: Path) -> Iterable[Path]:
    """Groups go while they are looked at: a container's daemon removes those of its own."""
    with contextlib.suppress(FileNotFoundError):
        yield from [each for each in parent.iterdir() if each.is_dir()]


def _below(group: Path, name: str) -> Iterator[Path]:
    """Files called `name` of a group and of all groups below it."""
    yield group / name
    for each in _directories(group):
        yield from _below(each, name)


def _remove(path: Path) -> bool:
    """With what is below it: the files in it are the kernel's. Whether it is gone."""
    if not path.is_dir():
        return True
    for below in _directories(path):
        _remove(below)
    return _rmdir(path)


def _rmdir(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError:
        return False
    return True
