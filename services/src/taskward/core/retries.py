"""When to try again: growing pauses with jitter, and not before a service wants it (Retry-After)."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from taskward.core.errors import TaskwardError, Unreachable

T = TypeVar("T")

LONGEST_WISH_S: Final = 60.0
"""A service that names a longer time is asked after this one."""

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 20.0
_HTTP_DATE: Final = "%a, %d %b %Y %H:%M:%S GMT"


def retried(attempt: Callable[[], T], deadline: float, stop: threading.Event) -> T:
    """`attempt`, again after pauses while it raises `Unreachable`, until `deadline` (monotonic)."""
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return attempt()
        except Unreachable as error:
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            left_s = deadline - time.monotonic()
            wait_s = wait_after(error, pause_s, left_s)
            if wait_s > left_s or stop.wait(wait_s):
                raise


def wait_after(error: TaskwardError, pause_s: float, left_s: float) -> float:
    """How long to wait: up to `pause_s`, and before that what the service asked for.

    The wish of a service is followed until `left_s` only; without a wish the wait may be longer than that: then there
    is no time for another try.
    """
    jittered_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
    asked_s = error.retry_after_s if isinstance(error, Unreachable) else 0.0
    return max(jittered_s, min(asked_s + jittered_s, left_s))


def wished_s(retry_after: str, now: datetime | None = None) -> float:
    """The seconds from `now` that the field Retry-After means (RFC 9110, 10.2.3: seconds, or a date), at most
    `LONGEST_WISH_S`; 0 for what is in the past, or no such field at all."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), LONGEST_WISH_S)
    try:
        then = datetime.strptime(retry_after, _HTTP_DATE).replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    return min(max((then - (now or datetime.now(UTC))).total_seconds(), 0.0), LONGEST_WISH_S)
