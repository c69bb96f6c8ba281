"""A shell in the running container."""

from typing import Final

from taskward.executor.docker.bridge import SHELLS, Shells
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.features.interactive import Interactive
from taskward.executor.shell.session import Starter

ARTIFACT: Final = "private/docker-worker/shell.html"


class ContainerInteractive(ContainerFeature, Interactive):
    """``features.interactive``. Its place is after the image: until that is there, a shell would wait for long."""

    artifact = ARTIFACT

    def starter(self) -> Starter:
        """Programs have the container's own variables."""
        shells = Shells(self.task.settings.docker, self.engine.container.name)
        return Starter(shells.start, self.engine.identity, {}, SHELLS)
