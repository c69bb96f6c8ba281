"""Trying again while trouble may pass."""

import random
import time
from collections.abc import Callable
from typing import Final

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 20.0
_JITTER: Final = (0.75, 1.25)


def insist(
    attempt: Callable[[], str],
    within_s: float,
    wait: Callable[[str, float], None],
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Attempts until one succeeds, or `within_s` after the first failure; pauses grow, and no two waiters' are alike.

    Args:
        attempt: returns why it failed, or nothing; what it raises ends the attempts.
        within_s: no attempt begins later than that.
        wait: is told why the last attempt failed, and waits so many seconds; what it raises ends the attempts.
        clock: in seconds.

    Returns:
        Why the last attempt failed, and how many there were; empty when one succeeded.
    """
    attempts, pause_s, failed_s = 0, _FIRST_PAUSE_S, None
    while reason := attempt():
        attempts += 1
        now_s = clock()
        failed_s = now_s if failed_s is None else failed_s
        this_pause_s = pause_s * random.uniform(*_JITTER)  # noqa: S311 - not a secret
        if now_s + this_pause_s - failed_s > within_s:
            return f"{reason} ({attempts} attempt{'s' if attempts > 1 else ''})"
        wait(reason, this_pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
    return ""
