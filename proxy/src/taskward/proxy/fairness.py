"""Who gets the next thread, so that one task cannot take them all."""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairShare(Generic[T]):
    """Shares out threads between callers. Not for more than one thread.

    A caller may use `per_caller` threads, and never more than are free at that moment: the busier the proxy, the
    fewer for each newcomer's second request, so that there is nearly always one left for a caller that has none. Items
    that have to wait are started in their order, one caller after the other.
    """

    def __init__(self, threads: int, per_caller: int) -> None:
        self._threads = self._free = threads
        self._half = threads // 2
        self._per_caller = per_caller
        self._running: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[T]] = {}

    @property
    def relaxed(self) -> bool:
        """Nobody waits and at least half of the threads are free: a thread may be kept a little longer."""
        return not self._waiting and self._free >= self._half

    @property
    def running(self) -> int:
        """How many items have a thread now."""
        return self._threads - self._free

    def offer(self, caller: Hashable, item: T) -> list[T]:
        """Hand in one more item; returns what is to be started now (it, others, or nothing)."""
        self._waiting.setdefault(caller, deque()).append(item)
        return self._startable()

    def finished(self, caller: Hashable) -> list[T]:
        """Give back the thread of one started item; returns what is to be started now."""
        self._free += 1
        self._running[caller] -= 1
        if self._running[caller] == 0:
            del self._running[caller]
        return self._startable() if self._waiting else []

    def _startable(self) -> list[T]:
        started: list[T] = []
        progress = True
        while progress:
            progress = False
            for caller in list(self._waiting):
                if self._running.get(caller, 0) < min(self._per_caller, self._free):
                    started.append(self._start(caller))
                    progress = True
        return started

    def _start(self, caller: Hashable) -> T:
        queue = self._waiting.pop(caller)
        item = queue.popleft()
        if queue:
            self._waiting[caller] = queue  # at the end: the others come first next time
        self._free -= 1
        self._running[caller] = self._running.get(caller, 0) + 1
        return item
