"""What features have in common that only containers can have."""

from taskward.core.outcome import failed
from taskward.executor.docker import engine
from taskward.executor.docker.engine import DockerEngine
from taskward.executor.docker.request import DockerRequest
from taskward.executor.errors import EngineFailed, TaskEnded
from taskward.executor.features.feature import Feature


class ContainerFeature(Feature):
    """A `Feature` of a task that runs in a container; the scopes that it needs are looked at by `Rights`."""

    @property
    def engine(self) -> DockerEngine:
        """Where the task's container is, and its `outfit`."""
        return engine.of(self.task.engine)

    @property
    def wanted(self) -> DockerRequest:
        """What the payload asks for.

        Raises:
            EngineFailed: it is another kind of payload.
        """
        request = self.task.payload.docker
        if request is None:
            raise EngineFailed(f"feature {self.name} is for containers")
        return request


def refused(text: str) -> TaskEnded:
    """The task fails because it asks for something that it may not have, or that is not there."""
    return TaskEnded(failed(text))
