"""The address at which the proxy meets a run's container; every run has one, though most may reach nothing there."""

from taskward.executor.docker.admission import Admission
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.front import Front
from taskward.executor.errors import EngineFailed


class ProxyPeer(ContainerFeature):
    """Networks are used again: what an address meant for the run before must be forgotten before this one begins."""

    name = "Proxy"

    @property
    def front(self) -> Front | None:
        """How containers reach the proxy; None where they do not."""
        return self.engine.front

    def admission(self) -> Admission:
        """The run's entry.

        Raises:
            EngineFailed: the run has no network (any more), or containers have no proxy.
        """
        if (front := self.front) is None:
            raise EngineFailed("containers have no proxy: [proxy] container_port is not set")
        return Admission(self.task, self.engine.network, front)

    def start(self) -> None:
        """Takes the address over."""
        if self.front is not None:
            self.admission().begin()

    def stop(self) -> None:
        """Gives it back; after a crash nobody knows the network, and its next run takes the address over."""
        try:
            self.admission().end()
        except EngineFailed:
            return
