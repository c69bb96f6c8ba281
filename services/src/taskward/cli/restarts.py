"""Restarts of processes: how many there were, and when to start again what supervisord has given up."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
STEADY_S: Final = 60.0
"""A process that ran so long has recovered: its next pause is short again."""

FILE: Final = "restarts.json"

Start = Callable[[str], str]
"""Starts a program by its full name without waiting; returns why it could not, or the empty string."""

Say = Callable[[str], None]
"""Writes a line for whoever looks after the worker."""


class Restarts:
    """How often each process was started in this life of the supervisor, in a file for whoever asks."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._starts: dict[str, int] = {}

    def started(self, name: str) -> None:
        """Counts a start.

        Raises:
            OSError: the file cannot be written; it is counted all the same.
        """
        self._starts[name] = self._starts.get(name, 0) + 1
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps({"starts": self._starts}))
        draft.rename(self._file)


def read(file: Path) -> Mapping[str, Any]:
    """What the file holds; empty when there is none."""
    try:
        data = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


class Revival:
    """Starts what was given up, after a pause; the caller hands in the clock (monotonic seconds)."""

    def __init__(self, start: Start, say: Say) -> None:
        self._start, self._say = start, say
        self._due: dict[str, float] = {}
        self._pause_s: dict[str, float] = {}
        self._running_since: dict[str, float] = {}

    def running(self, name: str, now_s: float) -> None:
        """A process has come to run."""
        self._running_since[name] = now_s

    def fatal(self, name: str, now_s: float) -> None:
        """supervisord has given a process up."""
        steady = now_s - self._running_since.pop(name, now_s) >= STEADY_S
        pause_s = FIRST_PAUSE_S if steady else self._pause_s.get(name, FIRST_PAUSE_S)
        self._due[name] = now_s + pause_s
        self._pause_s[name] = min(pause_s * 2, LONGEST_PAUSE_S)
        self._say(f"{name} failed to start again and again; the next attempt is in {pause_s:.0f} s")

    def tick(self, now_s: float) -> None:
        """Starts what is due."""
        for name in [name for name, at in self._due.items() if at <= now_s]:
            del self._due[name]
            if reason := self._start(name):
                self._say(f"{name} is not started: {reason}")
