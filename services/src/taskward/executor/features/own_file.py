"""An artifact that a feature writes itself, into the run's outbox, where the task cannot reach it."""

import os
from dataclasses import dataclass

from taskward.core.clock import format_time
from taskward.core.outbox import Entry
from taskward.executor.collect import open_outbox, take_copy
from taskward.executor.task import Task


@dataclass(frozen=True)
class OwnFile:
    """One artifact: its name, its name in the outbox, its content type."""

    name: str
    file: str
    content_type: str

    def write(self, task: Task, content: bytes) -> None:
        """Puts `content` into the outbox, complete or not at all.

        Raises:
            OSError: it cannot be written.
        """
        outbox = task.layout.outbox(task.run)
        open_outbox(outbox)
        fd = os.memfd_create(self.file, os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(fd), "wb") as stream:
                stream.write(content)
            take_copy(fd, outbox, self.file)
        finally:
            os.close(fd)

    def publish(self, task: Task) -> None:
        """Adds it to what is uploaded, if it was written: by this process or by one that has died since."""
        path = task.layout.outbox(task.run) / self.file
        if path.exists():
            expires = format_time(task.expires)
            size_bytes = path.stat().st_size
            task.entries.append(Entry(self.name, self.file, size_bytes, self.content_type, "gzip", expires))
