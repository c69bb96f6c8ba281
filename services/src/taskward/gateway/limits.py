"""What the readers of live logs may take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What readers may take.

    `max_readers`: at once, over all logs. `idle_timeout_s`: without a byte from a silent log. `stall_timeout_s`: with
    bytes there that the reader does not take. `prepare_timeout_s`: before the log exists at all.
    """

    max_readers: int
    idle_timeout_s: float
    stall_timeout_s: float
    prepare_timeout_s: float
