"""How long failures of a service are borne."""

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from taskward.core.errors import TaskwardError, Unreachable
from taskward.core.retries import wait_after

T = TypeVar("T")
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 30.0
_AFTER_GIVING_UP: Final = 1 / 30


class Patience:
    """Repeats attempts with growing, jittered pauses; shared by the transfers of one step, safe between threads.

    `borne` are the errors after which an attempt is repeated; `repeats` is called before each that is not the first,
    after a `wait` of some seconds, which may raise.

    When one of them has waited its time out, the others wait a thirtieth of theirs, until something succeeds: a batch
    of many files ends soon after storage is known to be away.
    """

    def __init__(self, limit_s: float, repeats: Callable[[], None] = lambda: None,
                 borne: type[TaskwardError] = Unreachable,
                 wait: Callable[[float], None] = time.sleep) -> None:  # fmt: skip
        self._limit_s, self._repeats, self._borne, self._wait = limit_s, repeats, borne, wait
        self._gave_up = threading.Event()

    def keep_trying(self, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, repeated while it raises what is borne, and not before a service wants it.

        Raises:
            TaskwardError: the last one borne, when attempts have been failing for longer than the limit; any other.
        """
        failing_since: float | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                result = attempt()
            except self._borne as error:
                now = time.monotonic()
                failing_since = now if failing_since is None else failing_since
                left_s = failing_since + self._limit() - now
                wait_s = wait_after(error, pause_s, left_s)
                if wait_s > left_s:
                    self._gave_up.set()
                    raise
                self._wait(wait_s)
                self._repeats()
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                self._gave_up.clear()
                return result

    def _limit(self) -> float:
        return self._limit_s * (_AFTER_GIVING_UP if self._gave_up.is_set() else 1)
