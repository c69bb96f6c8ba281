"""Calls of Taskcluster with the task's own scopes: an address of the local proxy that only this run's user may use."""

from taskward.executor.errors import MalformedPayload
from taskward.executor.features.feature import Feature
from taskward.executor.peer import Peer


class TaskclusterProxy(Feature):
    """``features.taskclusterProxy``."""

    name = "Taskcluster Proxy"
    key = "taskclusterProxy"
    switch = "enable_taskcluster_proxy"

    def start(self) -> None:
        """Takes an address; the proxy looks it up when the task connects."""
        url = Peer(self.task).url()
        if url is None:
            raise MalformedPayload("This task requires feature taskclusterProxy, which is not enabled on this worker")
        self.task.environment["TASKCLUSTER_PROXY_URL"] = url

    def stop(self) -> None:
        """Gives the address back."""
        Peer(self.task).give_back()
