"""Calls of Taskcluster with the task's own scopes, at ``http://taskcluster``."""

from collections.abc import Iterator
from typing import Final

from taskward.executor.docker.features.proxy_peer import ProxyPeer

_ALIAS: Final = "taskcluster"


class ContainerTaskclusterProxy(ProxyPeer):
    """``features.taskclusterProxy``."""

    name = "Taskcluster Proxy"
    key = "taskclusterProxy"
    switch = "enable_taskcluster_proxy"

    def flaws(self) -> Iterator[str]:
        """Containers have no way to the proxy."""
        if self.front is None:
            yield f"payload.features: {self.key} is not enabled on this worker ([proxy] container_port)"

    def start(self) -> None:
        """The container finds the proxy by its name; a task may say otherwise where its programs look."""
        admission = self.admission()
        admission.allow(_ALIAS)
        self.engine.outfit.hosts[_ALIAS] = admission.address
        self.engine.outfit.environment["TASKCLUSTER_PROXY_URL"] = f"http://{_ALIAS}"

    def stop(self) -> None:
        """Nothing: the address is given back as a whole."""
