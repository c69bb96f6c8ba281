"""Images where workers find them: in a simulated registry, or as artifacts of tasks."""

from typing import Final

from executor.docker_images.archives import Picture
from executor.mounts.web import Web
from simulators.registry import Registry
from taskward.executor.docker.request import Image

TASK: Final = "AAAAAAAAQAaAAAAAAAAAAA"
OTHER: Final = "BBBBBBBBQAaAAAAAAAAAAA"


def push(registry: Registry, picture: Picture, repository: str = "people/image", tag: str = "1") -> Image:
    return Image("docker-image", name=registry.push(repository, tag, picture.config, picture.layers))


def artifact(web: Web, data: bytes, path: str = "public/image.tar", task_id: str = TASK) -> Image:
    web.artifact(task_id, path, data)
    return Image("task-image", task_id=task_id, path=path)
