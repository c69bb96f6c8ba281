"""The one error of this package."""

from taskward.core.outcome import failed
from taskward.executor.errors import TaskEnded


class MountFailed(TaskEnded):
    """A mount cannot be had: the run fails, and the text (for people) says which mount and why."""

    def __init__(self, text: str) -> None:
        super().__init__(failed(f"[mounts] {text}"))
