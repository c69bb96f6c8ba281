"""Where the uploads of a run stand, as far as the uploader may say so (``tw:upload:RUN``).

Whoever has taken an uploader over can write anything there. It can end the uploads early and spoil what would have been
a success; it cannot make a success of anything, for how the run ended stands where only the executor may write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from taskward.core.outcome import Outcome, exception

FIELDS: Final = ("phase", "outcome")
PHASES: Final = ("uploading", "finishing", "uploaded")
_DAMAGED: Final = exception("internal-error", "what Redis holds of the run's uploads cannot be read")
_NOT_OVER: Final = exception("internal-error", "the run ended before its uploads did")


@dataclass(frozen=True)
class Uploads:
    """`fault` is the first thing that went wrong, or None."""

    phase: str
    fault: Outcome | None = None

    @classmethod
    def parse(cls, values: object) -> Self:
        """From the values of `FIELDS`, or from whatever came in their place: that is over, and a fault."""
        try:
            phase, outcome = (str(value or b"", "utf-8") for value in _pair(values))
            fault = Outcome.from_json(outcome) if outcome else None
        except ValueError:
            return cls("uploaded", _DAMAGED)
        if phase not in PHASES or (fault and (fault.succeeded or fault.unreported)):
            return cls("uploaded", _DAMAGED)
        return cls(phase, fault)

    def spoil(self, outcome: Outcome | None, over: bool) -> Outcome | None:
        """`outcome`, or the fault in place of a success; `over` is whether the uploads must have been done."""
        if outcome is None or not outcome.succeeded:
            return outcome
        return self.fault or (_NOT_OVER if over and self.phase != "uploaded" else outcome)


def _pair(values: object) -> Sequence[bytes]:
    if isinstance(values, list) and len(values) == 2:
        return values
    raise ValueError("not two values")
