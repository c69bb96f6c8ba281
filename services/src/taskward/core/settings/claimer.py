"""The claimer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClaimerSettings:
    """[claimer]: how often to ask."""

    status_poll_s: float = 15.0
    renew_before_s: float = 300.0
    pause_s: float = 1.0
