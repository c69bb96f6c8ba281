"""The whole log once more, under the name that docker-worker gave it before it had live logs."""

from collections.abc import Sequence
from typing import Final

from taskward.executor.docker.features.container_feature import ContainerFeature

ARTIFACT: Final = "public/logs/terminal_bulk.log.gz"


class BulkLog(ContainerFeature):
    """``features.bulkLog``: word for word what the backing log is, which needs not be published for that."""

    name = "Bulk Log"
    key = "bulkLog"

    def reserved(self) -> Sequence[str]:
        """One name for all tasks."""
        return (ARTIFACT,)

    def stop(self) -> None:
        """The uploader sends it when the last line is written."""
        self.task.bulk_log = ARTIFACT
