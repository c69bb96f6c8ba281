"""The image of the container."""

from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.images.images import Images
from taskward.executor.docker.images.library import Ensured
from taskward.executor.docker.images.site import Site


class ContainerImage(ContainerFeature):
    """``payload.image``: every container has one."""

    name = "Image"
    _ensured: Ensured | None = None

    def start(self) -> None:
        """Makes sure that the daemon has it, and keeps it there.

        Raises:
            TaskEnded: it cannot be had.
            EngineFailed: the daemon or this machine could not do it.
        """
        task, site = self.task, Site(self.task)
        with site:
            self._ensured = Images(self.engine.daemon, task.settings).ensure(self.wanted.image, site)
        self._ensured.require_command(self.wanted.command)
        self.engine.outfit.image = self._ensured.image_id
        task.image_facts.update(self._ensured.facts)

    def stop(self) -> None:
        """It may be removed from now on, when no container uses it.

        Of a run that is taken over the container tells what the process that has died knew.
        """
        if self._ensured is not None:
            self._ensured.close()
        elif not self.task.image_facts and (state := self.engine.container.state()):
            images = Images(self.engine.daemon, self.task.settings)
            self.task.image_facts.update(images.facts_of(self.wanted.image, state.image_id))
