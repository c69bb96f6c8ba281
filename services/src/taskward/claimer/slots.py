"""How many runs may be claimed now."""

from pathlib import Path
from typing import Final

from redis import Redis

from taskward.core import keys
from taskward.core.jobs import EXECUTE
from taskward.core.layout import Layout
from taskward.core.locks import available
from taskward.core.record import Records

MOST_PER_CLAIM: Final = 32


class Slots:
    """Free capacity: never more than there are executors to take it, none while draining."""

    def __init__(self, redis: Redis, records: Records, layout: Layout, capacity: int) -> None:
        self._redis, self._records, self._capacity = redis, records, capacity
        self._locks: Path = layout.locks(EXECUTE.name)

    def free(self) -> int:
        """Runs to ask the queue for, 0 to 32."""
        if self._redis.exists(keys.DRAIN):
            return 0
        usable = min(self._capacity, available(self._locks))
        return max(0, min(MOST_PER_CLAIM, usable - len(self._records.active())))
