"""Our part of supervisord: it counts restarts, and starts again after a pause what supervisord has given up (FATAL).

supervisord calls `attend` as the factory of an RPC interface, the one door that it has for code of others. A process
that listens to its events would take 7 MiB for the same (docs/adr/0008).
"""

import time
from pathlib import Path
from typing import Any

from supervisor import events
from supervisor.rpcinterface import SupervisorNamespaceRPCInterface
from supervisor.xmlrpc import RPCError

from taskward.cli.restarts import FILE, Restarts, Revival, Say


class Attendant:
    """Takes supervisord's events. It offers nothing by RPC: no method here is public."""

    def __init__(self, restarts: Restarts, revival: Revival, say: Say) -> None:
        self._restarts, self._revival, self._say = restarts, revival, say
        for kind, take in (
            (events.ProcessStateStartingEvent, self._starting), (events.ProcessStateRunningEvent, self._running),
            (events.ProcessStateFatalEvent, self._fatal), (events.Tick5Event, self._tick),
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

    def _tick(self, _event: Any) -> None:
        self._revival.tick(time.monotonic())


def attend(supervisord: Any, directory: str) -> Attendant:
    """For supervisord's configuration: ``restarts.json`` is written to `directory`."""
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
