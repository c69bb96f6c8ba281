"""Waiting for what happens without telling anybody."""

import time
from collections.abc import Callable


def until(condition: Callable[[], object], within_s: float, pause_s: float = 0.02) -> bool:
    """Whether `condition` has come true within `within_s`; it is asked at least once, and every `pause_s`."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
    return True
