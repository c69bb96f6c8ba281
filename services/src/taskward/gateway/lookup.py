"""One question to Redis, over a connection of its own: all that the gateway asks is one key when a reader comes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taskward.core.link import Link, NoAnswer

_MOST_BYTES: Final = 1 << 20  # an entry has a few hundred

__all__ = ["NoAnswer", "Question"]


@dataclass(frozen=True)
class Question:
    """Whom to ask, and as whom. Thread-safe.

    Attributes:
        timeout_s: for each step: to connect, to send, to hear more.
    """

    socket: Path
    user: str
    password: str = field(repr=False)
    timeout_s: float

    def get(self, key: str) -> bytes | None:
        """The value of `key`; None when there is none.

        Raises:
            NoAnswer: Redis is away, loads its data, or refuses us.
        """
        with Link(self.socket, self.user, self.password, self.timeout_s, _MOST_BYTES) as link:
            entry = link.ask("GET", key)
        if not isinstance(entry, bytes | None):
            raise NoAnswer("an entry is no string")
        return entry
