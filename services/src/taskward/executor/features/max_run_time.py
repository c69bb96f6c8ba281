"""The commands' time is limited; preparing and uploading are not part of it."""

import time

from taskward.executor.duration import go_duration
from taskward.executor.features.feature import Feature


class MaxRunTime(Feature):
    """Every task has it: ``payload.maxRunTime`` (its range is checked with the payload) and the closing lines."""

    name = "Max Run Time"
    _began: float | None = None

    def start(self) -> None:
        """The last feature to start: the commands are next."""
        self._began = time.monotonic()

    def stop(self) -> None:
        """How long the commands took; nobody knows after a crash."""
        if self._began is not None:
            self.task.log.info("=== Task Finished ===")
            self.task.log.info(f"Task Duration: {go_duration(round(time.monotonic() - self._began, 6))}")
