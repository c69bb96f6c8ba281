"""What a task wants: one contract for images by name (`named`) and images that tasks made (`made`)."""

from typing import Protocol

from taskward.executor.docker.images.library import Ensured
from taskward.executor.docker.images.turn import Follower, Turn


class Wish(Protocol):
    """One image for one task.

    Attributes:
        key: the same for all tasks that can share what is brought.
    """

    key: str

    def existing(self) -> Ensured | None:
        """What is here, if it is good and the task may have it; None when it must be brought.

        Raises:
            ImageFailed: the task may not have it, or it cannot run here.
        """
        ...

    def bring(self, turn: Turn, follower: Follower) -> Ensured:
        """Brings it; `turn` is ours meanwhile, and `follower` tells the task's log what is written to it.

        Raises:
            ImageFailed: it cannot be had.
        """
        ...
