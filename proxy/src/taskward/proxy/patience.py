"""How long, and how often, to try again."""

import random
import time
from typing import Final

from taskward.proxy.connection import TaskSocket

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 4.0


class Patience:
    """The tries of one request: pauses that double, with jitter, inside `total_s`; none once the task has gone."""

    def __init__(self, total_s: float, client: TaskSocket) -> None:
        self._end_s = time.monotonic() + total_s
        self._client = client
        self._pause_s = _FIRST_PAUSE_S

    def pause(self, retry_after: str | None = None) -> bool:
        """Wait before the next try; False when there should be none.

        `retry_after` is what Taskcluster asked for in seconds; if that is beyond the end, there is no further try.
        """
        pause_s = self._pause_s * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
            pause_s = max(pause_s, float(retry_after[:6]))
        if time.monotonic() + pause_s > self._end_s:
            return False
        return not self._client.leaves_within(pause_s)
