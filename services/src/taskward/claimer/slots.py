"""How many runs may be claimed now."""

from pathlib import Path
from typing import Final

from taskward.core import keys
from taskward.core.commands import Commands
from taskward.core.jobs import EXECUTE
from taskward.core.layout import Layout
from taskward.core.locks import available
from taskward.core.record import Records
from taskward.core.retention import retained

MOST_PER_CLAIM: Final = 32


class Slots:
    """Free capacity: never more than there are executors to take it, none while draining.

    An executor that keeps a run for a person to look around takes none either.
    """

    def __init__(self, redis: Commands, records: Records, layout: Layout, capacity: int) -> None:
        self._redis, self._records, self._capacity = redis, records, capacity
        self._layout = layout
        self._locks: Path = layout.locks(EXECUTE.name)

    def draining(self) -> bool:
        """Whether somebody wants no more runs to be claimed."""
        return bool(self._redis.exists(keys.DRAIN))

    def hear_of_draining(self) -> None:
        """Tells `taskward drain` that no request for work is under way."""
        self._redis.set(keys.DRAIN, keys.DRAIN_HEARD, xx=True)

    def free(self) -> int:
        """Runs to ask the queue for, 0 to 32."""
        if self.draining():
            return 0
        usable = min(self._capacity, available(self._locks))
        taken = self._records.active()
        taken |= retained(self._layout).keys()  # asked in this order: see `core.retention`
        return max(0, min(MOST_PER_CLAIM, usable - len(taken)))
