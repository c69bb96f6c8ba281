"""Runs take turns at a process: one with many files does not keep those waiting that are behind it in the queue.

What is left of a batch goes to the end of the queue. The other batches of its run, of which many may be in between, let
the others go first, too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from redis import Redis

from taskward.core.commands import text
from taskward.core.ids import RunId
from taskward.core.jobs import UPLOAD

_LOOK_EVERY_S: Final = 0.5


@dataclass
class Turn:
    """The turn of one run; safe to use from several threads.

    Attributes:
        wanted: whether another run waits for its turn.
        ends_at: monotonic time up to which nobody asks.
    """

    wanted: Callable[[], bool]
    ends_at: float
    _over: bool = field(default=False, init=False)

    def is_over(self) -> bool:
        """Whether it is time to give way; once true, it stays so. Ask as often as you like."""
        if not self._over and time.monotonic() >= self.ends_at:
            self.ends_at = time.monotonic() + _LOOK_EVERY_S
            self._over = self.wanted()
        return self._over


class Turns:
    """Of the batches that one process works on, one after the other; each is at least `length_s` long."""

    def __init__(self, redis: Redis, length_s: float) -> None:
        self._redis, self._length_s = redis, length_s
        self._last: RunId | None = None

    def next(self, run: RunId) -> Turn | None:
        """A turn for `run`; None when it has just had one and others wait."""
        if run == self._last and self._others_wait(run):
            return None
        self._last = run
        return Turn(lambda: self._others_wait(run), time.monotonic() + self._length_s)

    def _others_wait(self, run: RunId) -> bool:
        ours = f"{UPLOAD.prefix}-{run.directory}-"
        return any(not text(each).startswith(ours) for each in self._redis.lrange(UPLOAD.key, 0, -1))
