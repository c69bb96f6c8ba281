"""The engine for payloads with an image: one container for each run.

It contains a native engine as its host half: the run's own user, directory and control group on this host. Whatever
is hostile and comes out of the container is handled with that user's rights (`as_task`), and the container lives below
that control group, so that killing, limits and counting work as they do without containers, whatever the daemon does.
The daemon does all that where systemd has the groups (containers would need its names for them), and where this process
may make none, as in a container.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from socket import socket
from typing import Final

from taskward.core.ids import RunId
from taskward.core.outcome import exception
from taskward.core.settings import Settings
from taskward.executor.cgroup import Cgroup, parent_name
from taskward.executor.docker import labels
from taskward.executor.docker.config import container_config
from taskward.executor.docker.container import Container
from taskward.executor.docker.daemon import Daemon, DaemonAway, DaemonRefused
from taskward.executor.docker.front import front_of
from taskward.executor.docker.network import Network, Networks
from taskward.executor.docker.outfit import Outfit
from taskward.executor.docker.output import ContainerProcess, Output
from taskward.executor.engine import Engine, Identity, Program, Remains, Usage
from taskward.executor.errors import CommandNotStarted, EngineFailed, MalformedPayload, TaskEnded
from taskward.executor.native import NativeEngine

_OUTPUT_WITHIN_S: Final = 30.0


class DockerEngine:
    """See `engine.Engine`; there is one `start` for a run.

    Attributes:
        outfit: what features want the container to have.
        container: the run's.
        daemon: who makes it.
        front: how containers reach the proxy; None where they do not.
        may_have_run: whether the container was started, as far as this process knows.
    """

    name = "docker"

    def __init__(self, run: RunId, settings: Settings, daemon: Daemon | None = None) -> None:
        self._run, self._settings = run, settings
        state_dir = settings.layout.state_dir
        self.daemon, self._closes_daemon = daemon or Daemon(settings.docker), daemon is None
        self.host = NativeEngine(run, settings.layout, settings.executor)
        self.container = Container(self.daemon, labels.container_name(state_dir, run))
        self.outfit = Outfit()
        self.may_have_run = False
        self._cgroup = Cgroup(state_dir, run.directory)
        self.front = front_of(settings.others.get("proxy", {}), self.daemon)
        self._networks = Networks(self.daemon, state_dir, self.front)
        self._network: Network | None = None
        self._network_lock = -1
        self._process: ContainerProcess | None = None
        self._output: Output | None = None

    @property
    def isolated(self) -> bool:
        """Always."""
        return True

    @property
    def identity(self) -> Identity:
        """The run's user and directory on this host."""
        return self.host.identity

    @property
    def network(self) -> Network:
        """The run's own.

        Raises:
            EngineFailed: it has none (yet, or any more).
        """
        if self._network is None:
            raise EngineFailed(f"run {self._run} has no network")
        return self._network

    def prepare(self) -> tuple[str, ...]:
        """The host half, and a network.

        Raises:
            TaskEnded: this worker has no containers.
        """
        if not self._settings.docker.enabled or os.geteuid() != 0:
            why = "it does not run as root" if self._settings.docker.enabled else "[docker] enabled is off"
            raise MalformedPayload(
                f"This task asks for a container (payload.image), which this worker does not offer: {why}. Create the "
                "task for a worker pool that has containers"
            )
        warnings = self.host.prepare()
        try:
            self._network, self._network_lock = self._networks.take()
        except DaemonAway as error:
            raise TaskEnded(exception("resource-unavailable", str(error))) from error
        return warnings

    def start(self, program: Program, log_fd: int) -> ContainerProcess:
        """Creates, attaches, starts.

        Raises:
            CommandNotStarted: the daemon refuses; the text is its own.
        """
        docker, limits = self._settings.docker, self._settings.executor
        marks = labels.of_run(self._settings.layout.state_dir, self._run)
        config = container_config(program, self.outfit, self.network, marks, self.cgroup_parent(), docker, limits)
        try:
            self.container.create(config)
            self._output = Output(self.daemon, self.container.name, self.container.attach(), log_fd)
            self._output.start()
            self._process = ContainerProcess(self._output)
            self.may_have_run = True  # also when the daemon goes away before it has answered
            self.container.start()
        except DaemonRefused as error:
            self.may_have_run = False
            raise CommandNotStarted(error.reason) from error
        return self._process

    def join(self, groups: Sequence[str]) -> None:
        """Groups of this host mean nothing in a container.

        Raises:
            EngineFailed: always.
        """
        raise EngineFailed(f"a container cannot join groups of this host: {', '.join(groups)}")

    def keep_own_rights(self) -> None:
        """Raises `EngineFailed`: containers are privileged or not, by `Outfit.privileged`."""
        raise EngineFailed("a container has no rights of the worker's")

    def kill(self) -> None:
        """Control group first, which needs no daemon; then the daemon has to agree, if it is there."""
        if self._process is not None and self._process.ended_by_itself() is None:
            self._process.was_killed = True
        self.host.kill()
        try:
            self.container.kill()
        except DaemonAway:
            if self._process is not None and not self._shares_cgroup:
                raise
        if self._output is not None and not self._output.finish(_OUTPUT_WITHIN_S):
            raise EngineFailed("the container's output does not end")

    def as_task(self, function: Callable[[socket], None]) -> socket:
        """With the rights of the host half's user."""
        return self.host.as_task(function)

    def usage(self) -> Usage:
        """As the control group counts, or the daemon."""
        if self._shares_cgroup:
            return Usage(self._cgroup.memory_bytes(), self._cgroup.cpu_s())
        with contextlib.suppress(EngineFailed):
            return self.container.usage()
        return Usage(None, None)

    def remains(self) -> Remains:
        """What the control group and the daemon know."""
        found = Remains(None, None)
        with contextlib.suppress(EngineFailed):
            if self._shares_cgroup:
                found = Remains(self._cgroup.oom_kills(), self._cgroup.memory_peak_bytes())
            state = self.container.state()
            if state is not None and state.out_of_memory:
                return Remains(max(1, found.oom_kills or 0), found.memory_peak_bytes)
        return found

    def remove(self) -> None:
        """Container, network, directory, user, control groups; a container that stays is found by its label later."""
        with contextlib.suppress(DaemonAway):
            self.container.remove()
        if self._network_lock >= 0:
            os.close(self._network_lock)
            self._network_lock, self._network = -1, None
        self.host.remove()
        if self._closes_daemon:
            self.daemon.close()

    @property
    def _shares_cgroup(self) -> bool:
        return self._cgroup.exists and self.daemon.shares_cgroups

    def cgroup_parent(self) -> str:
        """The run's control group, for containers to be made below; empty where the daemon does not put them there."""
        if not self._shares_cgroup:
            return ""  # the daemon's own choice, or its administrator's
        return f"/{parent_name(self._settings.layout.state_dir)}/{self._run.directory}"


def of(engine: Engine) -> DockerEngine:
    """The engine of a task that has an image, for what only containers have.

    Raises:
        EngineFailed: it is another one.
    """
    if not isinstance(engine, DockerEngine):
        raise EngineFailed(f"the task runs in engine {engine.name}, which has no container")
    return engine
