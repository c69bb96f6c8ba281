"""Time as Taskcluster writes it: aware UTC, two spellings read, one written."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Now, aware, in UTC; the `Clock` of every process."""
    return datetime.now(UTC)


def parse_time(text: str) -> datetime:
    """An aware UTC time from ISO 8601 (``…Z`` or ``…+00:00``).

    Raises:
        ValueError: not a time, or one without a zone.
    """
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"a time without a zone: {text!r}")
    return value.astimezone(UTC)


def format_time(value: datetime) -> str:
    """``2026-11-21T23:05:27.124Z``, as the queue and the log prefixes write it."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
