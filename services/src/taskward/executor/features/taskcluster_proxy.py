"""Calls of Taskcluster with the task's own scopes: an address of the local proxy that only this run's user may use."""

import hashlib
from collections.abc import Iterator
from typing import Final

from taskward.core import keys
from taskward.core.connection import text
from taskward.core.ids import RunId
from taskward.executor.errors import EngineFailed, MalformedPayload
from taskward.executor.features.feature import Feature

_ADDRESSES: Final = 254 * 254
_SLACK_S: Final = 3600


class TaskclusterProxy(Feature):
    """``features.taskclusterProxy``."""

    name = "Taskcluster Proxy"
    key = "taskclusterProxy"

    def start(self) -> None:
        """Takes an address; the proxy looks it up when the task connects."""
        task = self.task
        port = task.settings.others.get("proxy", {}).get("port")
        if port is None:
            raise MalformedPayload("This task requires feature taskclusterProxy, which is not enabled on this worker")
        address = self._take()
        task.environment["TASKCLUSTER_PROXY_URL"] = f"http://{address}:{port}"

    def stop(self) -> None:
        """Gives the address back."""
        for address in addresses(self.task.run):
            holder = self._holder(address)
            if holder == self._owner:
                self.task.redis.delete(keys.peer(address))
            if holder in (None, self._owner):
                return

    @property
    def _owner(self) -> tuple[str, str]:
        return self.task.run.task_id, str(self.task.run.run_id)

    def _take(self) -> str:
        """The first of the run's addresses that no other run has; whoever writes the first field has it."""
        task, lifetime_s = self.task, self.task.payload.max_run_time_s + _SLACK_S
        for address in addresses(task.run):
            key = keys.peer(address)
            mine = task.redis.hsetnx(key, "taskId", task.run.task_id)
            if mine or self._holder(address) == self._owner:
                task.redis.expire(key, lifetime_s)
                task.redis.hset(key, "runId", str(task.run.run_id))
                task.redis.hset(key, "uid", str(task.engine.identity.uid))
                return address
        raise EngineFailed("no local address is free for the proxy")

    def _holder(self, address: str) -> tuple[str, str] | None:
        """taskId and runId of whoever has the address."""
        fields = {text(name): text(value) for name, value in self.task.redis.hgetall(keys.peer(address)).items()}
        return (fields["taskId"], fields.get("runId", "")) if fields else None


def addresses(run: RunId) -> Iterator[str]:
    """Addresses in 127.77/16, beginning at one that follows from the run."""
    first = int.from_bytes(hashlib.sha256(run.key.encode()).digest()[:4], "big")
    for step in range(_ADDRESSES):
        high, low = divmod((first + step) % _ADDRESSES, 254)
        yield f"127.77.{high + 1}.{low + 1}"
