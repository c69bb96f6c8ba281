"""What features have in common that only containers can have."""

from taskward.core.outcome import failed
from taskward.executor.docker import engine
from taskward.executor.docker.engine import DockerEngine
from taskward.executor.docker.request import DockerRequest
from taskward.executor.errors import EngineFailed, TaskEnded
from taskward.executor.features.feature import Feature, satisfies, task_scopes


class ContainerFeature(Feature):
    """A `Feature` of a task that runs in a container.

    Missing scopes are told as docker-worker tells them, and fail the task, as they do there: `start` asks `has_scope`
    and raises `refused`.
    """

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

    def has_scope(self, scope: str, *, per_pool: bool = False) -> bool:
        """Whether the task may; `per_pool` also takes the form that ends in ``:<workerPoolId>``."""
        forms = (scope, f"{scope}:{self.task.settings.worker.task_queue_id}") if per_pool else (scope,)
        return any(satisfies(task_scopes(self.task), form) for form in forms)


def refused(text: str) -> TaskEnded:
    """The task fails because it asks for something that it may not have, or that is not there."""
    return TaskEnded(failed(text))
