"""A limit on requests per minute."""

import threading
import time
from collections.abc import Callable


class RateLimit:
    """A bucket of `per_minute` tokens that refills evenly; safe for use by several threads."""

    def __init__(self, per_minute: int, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = monotonic_s
        self._lock = threading.Lock()
        self._tokens = float(per_minute)
        self._filled_at = monotonic_s()

    def take(self) -> bool:
        """Take a token; False when the bucket is empty."""
        with self._lock:
            now = self._clock()
            refill = (now - self._filled_at) * self._per_minute / 60
            self._tokens, self._filled_at = min(float(self._per_minute), self._tokens + refill), now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
