"""How long a key is good for, and the warning before its end."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from taskward.signer.errors import UnusableKeyError

Clock = Callable[[], datetime]
"""The time, in UTC."""

_WARNED_BEFORE: Final = timedelta(days=30)
_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class Lifetime:
    """Of the key `name`, until `expires` (ISO 8601, None for ever); `remedy` is told with every message."""

    def __init__(self, name: str, expires: str | None, remedy: str, clock: Clock) -> None:
        self.expires = expires
        self._name = name
        self._end = datetime.fromisoformat(expires) if expires else None
        self._remedy = remedy
        self._clock = clock
        self._days_told: int | None = None

    def check(self) -> None:
        """Raises `UnusableKeyError` when it is over; in the last thirty days, a warning a day goes to the log."""
        if self._end is None:
            return
        left = self._end - self._clock()
        if left <= timedelta():
            raise UnusableKeyError(f"{self._name} expired at {self.expires}; remedy: {self._remedy}")
        if left <= _WARNED_BEFORE and left.days != self._days_told:
            self._days_told = left.days
            _log.warning(
                "%s expires at %s, in %d days; before that, %s", self._name, self.expires, left.days, self._remedy
            )
