"""Runs that are over and whose user and directory are kept for a while, so that a person may look around.

The job process that keeps one holds a lock file, ``locks/retained/<taskId>-<runId>`` (see `locks.py`), which says until
when. Nobody clears such a run away, and the claimer takes nothing for its executor. The lock is taken before the run
leaves the active ones; whoever asks for both therefore reads the active runs first.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from taskward.core import locks
from taskward.core.clock import format_time
from taskward.core.ids import RunId
from taskward.core.layout import Layout

NAME: Final = "retained"
_LONGEST_TEXT: Final = 64


@dataclass(frozen=True)
class Retention:
    """A run that this process keeps until `release`, or until it ends."""

    layout: Layout
    run: RunId
    lock: int

    @classmethod
    def begin(cls, layout: Layout, run: RunId, until: datetime) -> Self:
        """Announces it.

        Raises:
            OSError: the lock file cannot be made.
        """
        directory = layout.locks(NAME)
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o755)
        lock = locks.hold(directory, run.directory)
        os.pwrite(lock, format_time(until).encode(), 0)
        return cls(layout, run, lock)

    def release(self) -> None:
        """The run may be cleared away."""
        (self.layout.locks(NAME) / self.run.directory).unlink(missing_ok=True)
        os.close(self.lock)


def retained(layout: Layout) -> dict[RunId, str]:
    """Every run that is kept now, and until when."""
    directory = layout.locks(NAME)
    if not directory.is_dir():
        return {}
    held = (path for path in locks.visible(directory) if locks.is_locked(path))
    return {RunId.of_directory(path.name): path.read_text()[:_LONGEST_TEXT] for path in held}


def sweep(layout: Layout) -> None:
    """Removes the lock files of processes that have died."""
    if layout.locks(NAME).is_dir():
        locks.sweep(layout.locks(NAME))
