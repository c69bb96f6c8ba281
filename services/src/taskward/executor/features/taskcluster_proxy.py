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
        owner = {"taskId": task.run.task_id, "runId": task.run.run_id, "uid": task.engine.identity.uid}
        task.redis.hset(keys.peer(address), mapping=owner)
        task.redis.expire(keys.peer(address), task.payload.max_run_time_s + _SLACK_S)
        task.environment["TASKCLUSTER_PROXY_URL"] = f"http://{address}:{port}"

    def stop(self) -> None:
        """Gives the address back."""
        for address in addresses(self.task.run):
            holder = self._holder(address)
            if holder == self.task.run.key:
                self.task.redis.delete(keys.peer(address))
            if holder in ("", self.task.run.key):
                return

    def _take(self) -> str:
        """The first of the run's addresses that no other living run has."""
        active = {run.key for run in self.task.records.active()}
        for address in addresses(self.task.run):
            mine = self.task.redis.hsetnx(keys.peer(address), "taskId", self.task.run.task_id)
            holder = self._holder(address)
            if mine or holder == self.task.run.key:
                return address
            if holder.count("/") == 1 and not holder.endswith("/") and holder not in active:
                return address
        raise EngineFailed("no local address is free for the proxy")

    def _holder(self, address: str) -> str:
        """``taskId/runId`` of whoever has the address; empty for nobody."""
        task_id, run_id = self.task.redis.hmget(keys.peer(address), "taskId", "runId")
        return f"{text(task_id)}/{text(run_id)}" if task_id else ""


def addresses(run: RunId) -> Iterator[str]:
    """Addresses in 127.77/16, beginning at one that follows from the run."""
    first = int.from_bytes(hashlib.sha256(run.key.encode()).digest()[:4], "big")
    for step in range(_ADDRESSES):
        high, low = divmod((first + step) % _ADDRESSES, 254)
        yield f"127.77.{high + 1}.{low + 1}"
