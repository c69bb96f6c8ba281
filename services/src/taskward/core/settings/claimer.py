"""The claimer."""

from dataclasses import dataclass

from taskward.core.errors import ConfigurationError

_LONGEST_S = 86_400.0


@dataclass(frozen=True)
class ClaimerSettings:
    """[claimer]: how often to ask."""

    status_poll_s: float = 15.0
    renew_before_s: float = 300.0
    pause_s: float = 1.0

    def __post_init__(self) -> None:
        for name in ("status_poll_s", "renew_before_s", "pause_s"):
            if not 0 < getattr(self, name) <= _LONGEST_S:
                raise ConfigurationError(f"{name}: must be more than 0 and at most {_LONGEST_S:.0f}")
