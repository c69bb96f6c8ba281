"""The log that stays: everything that the task printed, between the worker's own lines."""

import json
import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from taskward.executor.features.feature import Feature


class BackingLog(Feature):
    """Starts before the payload is read, since a malformed one must be reported in the log, too.

    ``features.backingLog`` decides whether the log is published; it is always written.
    """

    name = "Backing Log"

    def reserved(self) -> Sequence[str]:
        """``payload.logs.backing``."""
        payload = self.task.payload
        return (payload.backing_log,) if "backingLog" in payload.features else ()

    def start(self) -> None:
        """The head of the log."""
        task, worker = self.task, self.task.settings.worker
        task.log.protect()
        metadata = {**task.settings.executor.metadata, "taskward": _about(task.engine.name, worker.capacity)}
        text = json.dumps(metadata, indent=2, sort_keys=True).replace("\n", "\n  ")
        task.log.info(f"Worker Type ({worker.task_queue_id}) settings:\n  {text}\nTask ID: {task.run.task_id}")
        task.log.info("=== Task Starting ===")

    def stop(self) -> None:
        """Why the run did not complete; no line of the executor follows."""
        if self.task.outcome is not None and not self.task.outcome.succeeded:
            self.task.log.error(self.task.outcome.message or self.task.outcome.reason)
        self.task.log.finish()


@cache
def _about(engine: str, capacity: int) -> dict[str, Any]:
    return {
        "config": {"capacity": capacity},
        "engine": engine,
        "os": platform.system().lower(),
        "arch": platform.machine(),
        "python-version": platform.python_version(),
        "version": version("taskward"),
    }
