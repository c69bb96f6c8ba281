"""Keeps a container with shells until nobody looks at it any more, though its command has ended.

The container's first process is a shell of the image that runs the command and then reads from a pipe of ours. As long
as somebody has that pipe open for writing it waits; then it ends with the command's own exit code. The writer is the
shell host, which knows what shells there are; if it dies, the kernel closes the pipe.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PIPE: Final = "/.taskclusterinteractivesession.lock"
_SCRIPT: Final = f'exec 8<>{PIPE}; exec 9<{PIPE} 8<&-; "$@" 9<&-; code=$?; read -r _ <&9; exit $code'
"""To open the pipe for both directions first never waits; the second descriptor sees its end."""


def entrypoint(entry: tuple[str, ...]) -> tuple[str, ...]:
    """What runs the program `entry`, and what follows it, with a vigil."""
    return ("sh", "-c", _SCRIPT, "sh", *entry)


def make_pipe(path: Path) -> None:
    """For whatever user the container has; nobody else can enter the run's directory.

    Raises:
        OSError: it cannot be made.
    """
    os.mkfifo(path)
    path.chmod(0o666)


@dataclass(frozen=True)
class Patience:
    """How long: `least_s` from the start, `linger_s` after each shell, `longest_s` from the start in all."""

    least_s: float
    linger_s: float
    longest_s: float


class Vigil:
    """Begins when it is made; the process that looks holds the pipe.

    `look` is to be called at once, whenever a shell begins or ends, and when it has said.
    """

    def __init__(self, path: Path, patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._patience, self._clock = path, patience, clock
        self._until_s = clock() + min(patience.least_s, patience.longest_s)
        self._end_s = clock() + patience.longest_s
        self._had_shells = False
        self._fd = -1

    def look(self, shells: int) -> float | None:
        """Holds the container, or lets it go; in how many seconds to look again at the latest, None for never."""
        now_s = self._clock()
        if shells or self._had_shells:
            self._until_s = min(max(self._until_s, now_s + self._patience.linger_s), self._end_s)
        self._had_shells = shells > 0
        holds_until_s = self._end_s if shells else self._until_s
        if now_s < holds_until_s:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            return holds_until_s - now_s
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return None
