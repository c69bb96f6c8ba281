"""``python -m taskward.cli.listener DIRECTORY``: supervisord's event listener.

It counts restarts (``DIRECTORY/restarts.json``) and starts programs again that supervisord has given up (FATAL), after
a pause that doubles each time. It speaks the protocol of supervisord's event listeners on its standard streams, hence
prints nothing else there.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

from taskward.core import log
from taskward.core.process import start_time

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
STEADY_S: Final = 60.0
"""A process that ran so long has recovered: its next pause is short again."""

FILE: Final = "restarts.json"

_logger = logging.getLogger("taskward.cli.listener")


Start = Callable[[str], str]
"""Starts a program by its full name without waiting; returns why it could not, or the empty string."""


class Restarts:
    """How often each process was started again, kept in a file for one life of the supervisor."""

    def __init__(self, file: Path, life: str) -> None:
        self._file, self._life = file, life
        known = read(file)
        self._starts: dict[str, int] = dict(known.get("starts", {})) if known.get("life") == life else {}

    def started(self, name: str) -> None:
        """Counts a start."""
        self._starts[name] = self._starts.get(name, 0) + 1
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps({"life": self._life, "starts": self._starts}))
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

    def __init__(self, start: Start) -> None:
        self._start = start
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
        _logger.error("a program failed to start again and again", extra={"program": name, "pause_s": pause_s})

    def tick(self, now_s: float) -> None:
        """Starts what is due."""
        for name in [name for name, at in self._due.items() if at <= now_s]:
            del self._due[name]
            if reason := self._start(name):
                _logger.warning("not started", extra={"program": name, "reason": reason})


def serve(restarts: Restarts, revival: Revival, source: TextIO, sink: TextIO) -> None:
    """Takes one event after the other until supervisord closes the stream."""
    while True:
        sink.write("READY\n")
        sink.flush()
        header = _tokens(source.readline())
        if "len" not in header:
            return
        payload = _tokens(source.read(int(header["len"])))
        _handle(header["eventname"], f"{payload.get('groupname')}:{payload.get('processname')}", restarts, revival)
        sink.write("RESULT 2\nOK")
        sink.flush()


def _handle(event: str, name: str, restarts: Restarts, revival: Revival) -> None:
    now_s = time.monotonic()
    if event == "PROCESS_STATE_STARTING":
        restarts.started(name)
    elif event == "PROCESS_STATE_RUNNING":
        revival.running(name, now_s)
    elif event == "PROCESS_STATE_FATAL":
        revival.fatal(name, now_s)
    revival.tick(now_s)


def _tokens(line: str) -> dict[str, str]:
    return dict(word.split(":", 1) for word in line.split() if ":" in word)


def starter(socket: Path) -> Start:
    """Asks the supervisor at `socket`."""

    def start(name: str) -> str:
        # imported late: this process waits for years and never needs XML-RPC on a good day
        from taskward.cli.supervisor import Supervisor, SupervisorAway, SupervisorRefused

        try:
            Supervisor(socket).start(name)
        except (SupervisorAway, SupervisorRefused) as error:
            return str(error)
        return ""

    return start


def main() -> None:
    """Runs under supervisord only."""
    directory = Path(sys.argv[1])
    log.configure("listener")
    life = f"{os.getppid()}-{start_time(os.getppid())}"
    revival = Revival(starter(directory / "supervisor.sock"))
    serve(Restarts(directory / FILE, life), revival, sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
