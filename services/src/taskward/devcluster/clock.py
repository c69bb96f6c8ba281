"""Where the current time comes from, and how times are written.

Every time inside the program is an aware UTC ``datetime`` cut to milliseconds, as Taskcluster
itself keeps them. Tests hand in a clock of their own.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Protocol

#: RFC 3339 with an offset; the fraction may have any number of digits.
INSTANT_PATTERN = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """Tells the time; safe to ask from any thread."""

    def now(self) -> datetime:
        """Return the current time: aware, UTC, whole milliseconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time in whole milliseconds."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)


def to_ms(instant: datetime) -> int:
    """Return whole milliseconds since 1970."""
    return (instant - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """Return the aware time of milliseconds since 1970.

    Raises ``OverflowError`` for years that Python cannot hold.
    """
    return _EPOCH + timedelta(milliseconds=milliseconds)


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 time.

    Raises ``ValueError`` when it is not one, or names no offset.
    """
    if not INSTANT_PATTERN.fullmatch(text):
        raise ValueError(f"{text!r} is not a time like 2030-01-31T23:59:59.000Z")
    return from_ms(to_ms(datetime.fromisoformat(text.upper())))


def write_instant(instant: datetime) -> str:
    """Write a time as JavaScript does: ``2030-01-31T23:59:59.000Z``."""
    return instant.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
