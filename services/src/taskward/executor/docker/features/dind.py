"""Docker in the task: ``/var/run/docker.sock``, a filtered Docker API; what it makes is the task's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskward.executor.ceiling import most_processes
from taskward.executor.docker import labels
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.outfit import Bind

if TYPE_CHECKING:
    from taskward.executor.docker.dind.config import Confinement
    from taskward.executor.docker.dind.process import DockerSocket
    from taskward.executor.docker.dind.remains import Remains

PLACE: Final = "/var/run/docker.sock"


class Dind(ContainerFeature):
    """``features.dind``. Its place is last: what it has started is dead, and gone, before anything is collected."""

    name = "Docker in Docker"
    key = "dind"
    _socket: "DockerSocket | None" = None

    def flaws(self) -> Iterator[str]:
        """It is off unless the worker's owner wants it: what is let through is done by the daemon, which is root."""
        if not self.task.settings.docker.enable_dind:
            yield "payload.features: dind is not enabled on this worker ([docker] enable_dind)"
        if self.wanted.privileged:
            yield "payload.features: dind is not for privileged containers, which need no filtered Docker API"

    def start(self) -> None:
        """The socket answers from now on; tools that would use BuildKit are told that there is none.

        Raises:
            EngineFailed: it cannot be offered.
        """
        from taskward.executor.docker.dind import remains  # a feature that is off by default costs no memory
        from taskward.executor.docker.dind.process import SOCKET, DockerSocket

        task, engine = self.task, self.engine
        pins = remains.pins(task.layout.state_dir, task.run)
        self._socket = DockerSocket.start(task, engine.daemon, engine.container.name, pins, self._confinement())
        engine.outfit.binds.append(Bind(engine.identity.home / SOCKET, PLACE, read_only=True))
        engine.outfit.environment["DOCKER_BUILDKIT"] = "0"
        task.log.info(f"features.dind: a filtered Docker API is at {PLACE}; what it makes goes with the task")

    def close(self) -> None:
        """No container is made any more, and none runs.

        Raises:
            EngineFailed: the daemon could not kill one.
        """
        if self._socket is not None:
            self._socket.stop()
            self._socket = None
        self._remains().kill()

    def stop(self) -> None:
        """Everything that was made through the socket goes.

        Raises:
            EngineFailed: the daemon could not; a sweep finds what is left.
        """
        self._remains().remove()

    def _remains(self) -> "Remains":
        from taskward.executor.docker.dind.remains import Remains

        return Remains(self.engine.daemon, self.task.layout.state_dir, self.task.run)

    def _confinement(self) -> "Confinement":
        from taskward.executor.docker.dind.config import Confinement
        from taskward.executor.docker.dind.remains import name_prefix

        task, engine, docker, limits = self.task, self.engine, self.task.settings.docker, self.task.settings.executor
        state_dir: Path = task.layout.state_dir
        return Confinement(
            labels=labels.of_run(state_dir, task.run),
            name_prefix=name_prefix(state_dir, task.run),
            network=engine.network.name,
            cgroup_parent=engine.cgroup_parent(),
            memory_bytes=limits.memory_limit_bytes,
            processes=most_processes(limits.pids_limit),
            cpus=docker.cpus,
            processors=engine.outfit.processors,
            shm_size_bytes=docker.shm_size_bytes,
            hosts=dict(engine.outfit.hosts),
        )
