"""Where the uploads of a run stand, as far as the uploader may say so (``tw:upload:RUN``).

Whoever has taken an uploader over can write anything there. It can end the uploads early and spoil what would have been
a success; it cannot make a success of anything, for how the run ended stands where only the executor may write.
"""

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
        phase, outcome = values if isinstance(values, list) and len(values) == 2 else (None, None)
        phase = str(phase or b"", "utf-8", "replace")
        return cls(phase, _fault(outcome)) if phase in PHASES else cls("uploaded", _DAMAGED)

    def spoil(self, outcome: Outcome | None, over: bool) -> Outcome | None:
        """`outcome`, or the fault in place of a success; `over` is whether the uploads must have been done."""
        if outcome is None or not outcome.succeeded:
            return outcome
        return self.fault or (_NOT_OVER if over and self.phase != "uploaded" else outcome)


def _fault(value: bytes | None) -> Outcome | None:
    if value is None:
        return None
    try:
        fault = Outcome.from_json(str(value, "utf-8"))
    except ValueError:
        return _DAMAGED
    return _DAMAGED if fault.succeeded or fault.unreported else fault
