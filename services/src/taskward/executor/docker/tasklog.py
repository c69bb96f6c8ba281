"""The worker's own lines as docker-worker writes them."""

from datetime import UTC
from pathlib import Path

from taskward.core.clock import Clock, utc_now
from taskward.executor.tasklog import TaskLog


class DockerLog(TaskLog):
    """``[taskcluster 2020-05-04 13:43:21.123Z] …``; errors begin on a line of their own and have no time.

    A terminal in between may have left a line open, hence the line feed in front of an error.
    """

    def __init__(self, path: Path, fd: int, clock: Clock = utc_now) -> None:
        super().__init__(path, fd, clock)
        self._told: set[str] = set()

    def info(self, text: str) -> None:
        """On each line of `text`."""
        self._write(f"[taskcluster {self._time()}] ", text)

    def warn(self, text: str) -> None:
        """docker-worker has no warnings: information that begins with the word."""
        self._write(f"[taskcluster {self._time()}] Warning: ", text)

    def error(self, text: str) -> None:
        """``[taskcluster:error] …``, between line feeds."""
        self._told.add(text)
        self._append("".join(f"\n[taskcluster:error] {line}\n" for line in text.split("\n")))

    def cut(self, most_bytes: int) -> bool:
        """What was told may be among what is cut off, so it has to be told again."""
        was_longer = super().cut(most_bytes)
        if was_longer:
            self._told.clear()
        return was_longer

    def plain(self, text: str) -> None:
        """As it is."""
        self._append(text)

    def has_told(self, text: str) -> bool:
        """Whether this process has written it as an error."""
        return text in self._told

    def _time(self) -> str:
        return self._clock().astimezone(UTC).isoformat(" ", "milliseconds").replace("+00:00", "Z")
