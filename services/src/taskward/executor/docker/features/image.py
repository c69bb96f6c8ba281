"""The image of the container."""

from taskward.core.outcome import failed
from taskward.executor.docker.daemon import DaemonRefused
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.errors import TaskEnded


class ContainerImage(ContainerFeature):
    """``payload.image``: every container has one."""

    name = "Image"

    def start(self) -> None:
        """Makes sure that the daemon has it.

        Raises:
            TaskEnded: it cannot be had.
        """
        daemon, image = self.engine.daemon, self.wanted.image
        try:
            with daemon.asking(f"find the image {image}"):
                described = daemon.api.inspect_image(image.name)
        except DaemonRefused as error:
            raise TaskEnded(failed(f"Pulling docker image has failed.\nError: {error.reason}")) from error
        self.engine.outfit.image = described["Id"]
        self.task.image_facts["imageHash"] = described["Id"]
