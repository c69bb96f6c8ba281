"""Progress of a pull as lines of the task's log, in docker-worker's words."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_MOST_LINES: Final = 2000
_LONGEST_LINE: Final = 500
_SILENT: Final = frozenset(
    {"Pulling fs layer", "Waiting", "Verifying Checksum", "Extracting", "Pull complete", "Downloading"}
)


class Progress:
    """Of one pull."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: dict[str, float] = {}
        self._lines = 0

    def lines(self, message: Mapping[str, Any]) -> Iterator[str]:
        """What one message of the daemon adds to the log; whatever a registry wrote is made printable."""
        for line in self._told(str(message.get("id", "")), str(message.get("status", ""))):
            self._lines += 1
            if self._lines <= _MOST_LINES:
                yield printable(line)

    def _told(self, layer: str, status: str) -> Iterator[str]:
        if status == "Downloading" and layer not in self._started:
            self._started[layer] = self._clock()
            yield f"{layer} - Started downloading"
        elif status == "Download complete":
            now_s = self._clock()
            yield f"{layer} - Downloaded in {now_s - self._started.get(layer, now_s):.3f} seconds"
        elif status and status not in _SILENT:
            yield f"{layer}: {status}" if layer else status


def printable(text: str) -> str:
    """One line without control characters."""
    line = text[:_LONGEST_LINE]
    return line if line.isprintable() else line.encode("unicode_escape").decode()
