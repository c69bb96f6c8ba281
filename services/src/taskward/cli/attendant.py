"""Our part of supervisord: it counts restarts, and starts again after a pause what supervisord has given up.

supervisord calls `attend` as the factory of an RPC interface, the one door that it has for code of others. A process
that listens to its events would take 7 MiB for the same (docs/adr/0008).
"""

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO, cast

from supervisor import events
from supervisor.rpcinterface import SupervisorNamespaceRPCInterface
from supervisor.xmlrpc import RPCError

from taskward.cli.lifeline import ALIVE_LOCK, SUPERVISOR
from taskward.cli.restarts import FILE, Restarts, Revival, Say


class Attendant:
    """Takes supervisord's events. It offers nothing by RPC: no method here is public."""

    def __init__(self, restarts: Restarts, revival: Revival, say: Say) -> None:
        self._restarts, self._revival, self._say = restarts, revival, say
        for kind, take in (
            (events.ProcessStateStartingEvent, self._starting), (events.ProcessStateRunningEvent, self._running),
            (events.ProcessStateFatalEvent, self._fatal), (events.ProcessStateExitedEvent, self._exited),
            (events.Tick5Event, self._tick),
        ):  # fmt: skip
            events.subscribe(kind, take)

    def _starting(self, event: Any) -> None:
        try:
            self._restarts.started(_name(event))
        except OSError as error:  # a full disk is no reason to end the supervisor
            self._say(f"a start of {_name(event)} is not counted: {error}")

    def _running(self, event: Any) -> None:
        self._revival.running(_name(event), time.monotonic())

    def _fatal(self, event: Any) -> None:
        self._revival.fatal(_name(event), time.monotonic())

    def _exited(self, event: Any) -> None:
        """supervisord calls an end expected where it does not start the program again: it needs a person."""
        if event.expected:
            self._fatal(event)

    def _tick(self, _event: Any) -> None:
        self._revival.tick(time.monotonic())


class Patient:
    """Standard error on a disk that may be full: supervisord reports what it cannot log there, and would end of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """All of it, or nothing."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""


def attend(supervisord: Any, directory: str) -> Attendant:
    """For supervisord's configuration: ``restarts.json`` is written to `directory`.

    Programs find supervisord's pid in ``TASKWARD_SUPERVISOR``: see `programs.command`.
    """
    os.environ[SUPERVISOR] = str(os.getpid())
    alive = os.open(Path(directory) / ALIVE_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    fcntl.flock(alive, fcntl.LOCK_SH)  # as its programs do, until it has ended: it is the last of the worker
    sys.stderr = cast(TextIO, Patient(sys.stderr))
    rpc = SupervisorNamespaceRPCInterface(supervisord)

    def start(name: str) -> str:
        try:
            rpc.startProcess(name, wait=False)
        except RPCError as error:
            return str(error.text)
        return ""

    say = supervisord.options.logger.warn
    return Attendant(Restarts(Path(directory) / FILE), Revival(start, say), say)


def _name(event: Any) -> str:
    return f"{event.process.group.config.name}:{event.process.config.name}"
