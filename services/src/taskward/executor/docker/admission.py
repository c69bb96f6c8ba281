"""What the proxy is told of a run in a container: at which address it calls, from where, and whom it may reach."""

from typing import Any, Final

from taskward.core import keys
from taskward.core.commands import text
from taskward.executor.docker.front import Front
from taskward.executor.docker.network import Network
from taskward.executor.task import Task

_SLACK_S: Final = 3600


class Admission:
    """The entry of one run; whoever holds the network's lock is the only one to write it."""

    def __init__(self, task: Task, network: Network, front: Front) -> None:
        self._task, self._network, self._front = task, network, front
        self.address = front.address(network)
        self._key = keys.peer(self.address)

    def begin(self) -> None:
        """The address is this run's, which may reach nothing yet; what it meant for an earlier run is forgotten."""
        task, network = self._task, self._network
        entry: dict[Any, Any] = {"taskId": task.run.task_id, "runId": str(task.run.run_id), "subnet": network.subnet}
        entry |= {"gateway": network.gateway, "upstreams": ""}
        if not self._front.member:
            entry["bridge"] = network.bridge
        with task.redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(self._key)
            pipeline.hset(self._key, mapping=entry)
            pipeline.expire(self._key, task.payload.max_run_time_s + _SLACK_S)
            pipeline.execute()

    def allow(self, upstream: str) -> None:
        """From now on the run reaches `upstream`, too."""
        self._front.open(self._network)
        allowed = text(self._task.redis.hget(self._key, "upstreams") or b"").split()
        self._task.redis.hset(self._key, "upstreams", " ".join(sorted({*allowed, upstream})))

    def end(self) -> None:
        """The proxy serves the run no longer."""
        self._task.redis.delete(self._key)
