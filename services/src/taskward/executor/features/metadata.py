"""Which task this worker ran last, for whoever looks after the machine."""

import json
import logging
import tempfile
from pathlib import Path
from typing import Final

from taskward.executor.features.feature import Feature

FILE: Final = "generic-worker-metadata.json"

_logger = logging.getLogger(__name__)


class Metadata(Feature):
    """Every task has it: ``generic-worker-metadata.json`` in the worker's state directory."""

    name = "Metadata"
    switch = "enable_metadata"

    def requested(self) -> bool:
        """As the worker wishes; no task can ask."""
        return self.enabled()

    def stop(self) -> None:
        """Replaces the file; one that cannot be written spoils no task."""
        task = self.task
        root_url = task.settings.taskcluster.root_url.rstrip("/")
        data = {"lastTaskUrl": f"{root_url}/tasks/{task.run.task_id}/runs/{task.run.run_id}"}
        directory = task.layout.state_dir
        try:
            with tempfile.NamedTemporaryFile("w", dir=directory, prefix=f".{FILE}", delete=False) as draft:
                json.dump(data, draft)
            path = Path(draft.name)
            path.chmod(0o644)
            path.rename(directory / FILE)
        except OSError as error:
            _logger.warning("metadata not written", extra={"run": task.run.key, "reason": error.strerror})
