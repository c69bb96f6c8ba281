"""The commands' time is limited; preparing and uploading are not part of it."""

import time

from taskward.executor.duration import go_duration
from taskward.executor.features.feature import Feature


class MaxRunTime(Feature):
    """Every task has it: ``payload.maxRunTime`` (its range is checked with the payload) and the closing lines."""

    name = "Max Run Time"

    def start(self) -> None:
        """The last feature to start: the commands are next."""
        self._began = time.monotonic()

    def stop(self) -> None:
        """How long the commands took; unknown after a crash."""
        began = getattr(self, "_began", None)
        self.task.log.info("=== Task Finished ===")
        if began is not None:
            self.task.log.info(f"Task Duration: {go_duration(round(time.monotonic() - began, 6))}")
