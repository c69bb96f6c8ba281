"""The container of one run, known by its name, so that any process can end what another has begun."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from taskward.executor.docker.daemon import Daemon, DaemonRefused
from taskward.executor.engine import Usage
from taskward.executor.errors import EngineFailed

_NOT_FOUND, _CONFLICT = 404, 409
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.2
_STOPPED_WITHIN_S: Final = 60.0


@dataclass(frozen=True)
class State:
    """What the daemon knows of a container: `status` is its word (``created``, ``running``, ``exited`` …).

    `was_refused`: the daemon could not start it, and has said so to whoever asked.
    """

    status: str
    exit_code: int
    out_of_memory: bool
    image_id: str
    was_refused: bool = False

    @classmethod
    def parse(cls, described: Mapping[str, Any]) -> Self:
        """From the daemon's description of a container."""
        state = described["State"]
        return cls(state["Status"], int(state["ExitCode"]), bool(state["OOMKilled"]), str(described["Image"]),
                   bool(state.get("Error")))  # fmt: skip

    @property
    def is_alive(self) -> bool:
        """Whether processes may be in it."""
        return self.status in ("running", "paused", "restarting", "removing")


class Container:
    """Every method may be called when there is none; errors are `DaemonRefused` and `DaemonAway`."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self._daemon, self.name = daemon, name

    def create(self, config: Mapping[str, Any]) -> None:
        """Makes it; nothing runs yet."""
        with self._daemon.asking("create the container"):
            self._daemon.api.create_container_from_config(dict(config), self.name)

    def attach(self) -> int:
        """A blocking descriptor with everything that it will print, until it has ended; the caller closes it."""
        with self._daemon.asking("attach to the container"):
            stream = self._daemon.api.attach_socket(self.name, {"stdout": 1, "stderr": 1, "stream": 1})
            descriptor = os.dup(stream.fileno())
            connection = getattr(stream, "_sock", stream)  # closing the stream alone leaves what is behind it open
            stream.close()
            connection.close()
        os.set_blocking(descriptor, True)
        return descriptor

    def start(self) -> None:
        """Runs its command."""
        with self._daemon.asking("start the container"):
            self._daemon.api.start(self.name)

    def state(self) -> State | None:
        """None when there is no such container."""
        try:
            with self._daemon.asking("describe the container"):
                return State.parse(self._daemon.api.inspect_container(self.name))
        except DaemonRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def usage(self) -> Usage:
        """What its processes use, as the daemon counts."""
        with self._daemon.asking("count what the container uses"):
            counted = self._daemon.api.stats(self.name, stream=False, one_shot=True)
        memory_bytes = counted.get("memory_stats", {}).get("usage")
        cpu_ns = counted.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage")
        return Usage(memory_bytes, cpu_ns / 1e9 if memory_bytes is not None and cpu_ns is not None else None)

    def kill(self) -> None:
        """Ends all its processes; none is left when this returns. One that nobody has tried to start is removed.

        Raises:
            EngineFailed: it still lives after a minute.
        """
        deadline, pause_s, refusal = time.monotonic() + _STOPPED_WITHIN_S, _FIRST_PAUSE_S, ""
        while state := self.state():
            if state.status == "created" and not state.was_refused:
                self.remove()
                return
            if not state.is_alive:
                return
            if time.monotonic() > deadline:
                raise EngineFailed(f"the container {self.name} cannot be killed, it is {state.status}. {refusal}")
            refusal = self._strike()
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def remove(self) -> None:
        """Takes it and its anonymous volumes away."""
        try:
            with self._daemon.asking("remove the container"):
                self._daemon.api.remove_container(self.name, v=True, force=True)
        except DaemonRefused as error:
            if error.status not in (_NOT_FOUND, _CONFLICT):  # gone, or somebody else is removing it
                raise

    def _strike(self) -> str:
        """What the daemon had against it: it may have ended meanwhile, or take longer to end than the daemon waits."""
        try:
            with self._daemon.asking("kill the container"):
                self._daemon.api.kill(self.name)
        except DaemonRefused as error:
            return error.reason
        return ""
