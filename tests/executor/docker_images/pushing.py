"""Images in a simulated registry."""

from executor.docker_images.archives import Picture
from simulators.registry import Registry
from taskward.executor.docker.request import Image


def push(registry: Registry, picture: Picture, repository: str = "people/image", tag: str = "1") -> Image:
    return Image("docker-image", name=registry.push(repository, tag, picture.config, picture.layers))
