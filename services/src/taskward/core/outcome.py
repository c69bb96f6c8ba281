"""How a run ends: generic-worker's resolution table (`docs/compatibility.md`) as a value."""

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal, Self, get_args

State = Literal["completed", "failed", "exception"]
LONGEST_MESSAGE: Final = 4000
"""Characters, in Redis."""
_FIELDS: Final = {"state": str, "reason": str, "message": str, "unreported": bool}

EXCEPTION_REASONS: Final = frozenset(
    {
        "malformed-payload",
        "resource-unavailable",
        "internal-error",
        "worker-shutdown",
        "intermittent-task",
        "superseded",
    }
)


@dataclass(frozen=True)
class Outcome:
    """State and reason as the queue knows them; `message` is for people.

    For `completed` and `failed` the reason equals the state. `unreported` means that the queue has decided already
    (canceled, deadline exceeded, claim lost): nothing is reported.
    """

    state: State
    reason: str
    message: str = ""
    unreported: bool = False

    def __post_init__(self) -> None:
        known = EXCEPTION_REASONS if self.state == "exception" else {self.state}
        if self.reason not in known and not (self.unreported and self.state == "exception"):
            raise ValueError(f"unknown reason {self.reason!r} of state {self.state!r}")

    @property
    def succeeded(self) -> bool:
        """Whether the run completed."""
        return self.state == "completed"

    @property
    def label(self) -> str:
        """The reason, as metrics have it: what the queue had decided itself is one of them."""
        return "unreported" if self.unreported else self.reason

    def to_json(self) -> str:
        """The form that the run record holds; a message is cut where nobody reads on."""
        return json.dumps({**asdict(self), "message": self.message[:LONGEST_MESSAGE]})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse of `to_json`.

        Raises:
            ValueError: it is not of that form.
        """
        try:
            fields = json.loads(text)
            typed = all(type(fields[name]) is kind for name, kind in _FIELDS.items())
            if not typed or fields["state"] not in get_args(State):
                raise ValueError("not of the form of an outcome")
            return cls(**fields)
        except (TypeError, LookupError, RecursionError) as error:
            raise ValueError(f"not an outcome: {error}") from error


COMPLETED: Final = Outcome("completed", "completed")


def failed(message: str) -> Outcome:
    """The task's own fault or bad luck."""
    return Outcome("failed", "failed", message)


def exception(reason: str, message: str) -> Outcome:
    """Not the command's fault; `reason` is one of `EXCEPTION_REASONS`."""
    return Outcome("exception", reason, message)


def decided_by_queue(reason: str) -> Outcome:
    """The queue has resolved the run itself (canceled, deadline-exceeded, claim-expired): report nothing."""
    return Outcome("exception", reason, f"the queue resolved the run: {reason}", unreported=True)
