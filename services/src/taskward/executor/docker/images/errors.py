"""The one error of this package."""

from taskward.core.outcome import failed
from taskward.executor.errors import TaskEnded


class ImageFailed(TaskEnded):
    """The image cannot be had: the run fails, and the text (for people) says why. `reason` is the text alone."""

    def __init__(self, reason: str) -> None:
        super().__init__(failed(f"Pulling docker image has failed.\nError: {reason}"))
        self.reason = reason
