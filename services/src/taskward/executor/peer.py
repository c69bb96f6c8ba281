"""A run's own address of the local proxy, which serves whoever comes from there with the run's uid."""

import hashlib
from collections.abc import Iterator
from typing import Final

from taskward.core import keys
from taskward.core.commands import text
from taskward.core.ids import RunId
from taskward.executor.errors import EngineFailed
from taskward.executor.task import Task

_ADDRESSES: Final = 254 * 254
_SLACK_S: Final = 3600


class Peer:
    """The address of one run; what it is follows from the run and from Redis, so any process can give it back."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def url(self) -> str | None:
        """Takes an address, unless the run has one; where the proxy is for it. None where there is no proxy.

        Raises:
            EngineFailed: no address is free.
        """
        port = self._task.settings.others.get("proxy", {}).get("port")
        return None if port is None else f"http://{self._take()}:{port}"

    def serve(self, uid: int) -> None:
        """From now on the proxy serves processes of `uid` at the run's address, if it has one."""
        for address in addresses(self._task.run):
            holder = self._holder(address)
            if holder == self._owner:
                self._task.redis.hset(keys.peer(address), "uid", str(uid))
            if holder in (None, self._owner):
                return

    def give_back(self) -> None:
        """The proxy serves the run no longer."""
        for address in addresses(self._task.run):
            holder = self._holder(address)
            if holder == self._owner:
                self._task.redis.delete(keys.peer(address))
            if holder in (None, self._owner):
                return

    @property
    def _owner(self) -> tuple[str, str]:
        return self._task.run.task_id, str(self._task.run.run_id)

    def _take(self) -> str:
        """The first of the run's addresses that no other run has; whoever writes the first field has it."""
        task, lifetime_s = self._task, self._task.payload.max_run_time_s + _SLACK_S
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
        fields = {text(name): text(value) for name, value in self._task.redis.hgetall(keys.peer(address)).items()}
        return (fields["taskId"], fields.get("runId", "")) if fields else None


def addresses(run: RunId) -> Iterator[str]:
    """Addresses in 127.77/16, beginning at one that follows from the run."""
    first = int.from_bytes(hashlib.sha256(run.key.encode()).digest()[:4], "big")
    for step in range(_ADDRESSES):
        high, low = divmod((first + step) % _ADDRESSES, 254)
        yield f"127.77.{high + 1}.{low + 1}"
