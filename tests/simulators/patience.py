"""Waiting for what happens without telling anybody."""

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")


def until(
    condition: Callable[[], T | Literal[False] | None],
    what: str = "true",
    within_s: float = 60.0,
    pause_s: float = 0.01,
) -> T:
    """What `condition` gives once that is true; an AssertionError that names `what` when it takes longer."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {within_s} s still not: {what}"
        time.sleep(pause_s)
    return value
