"""What the getting of one run's image shares: the task, who works with its rights, and its log."""

import os
import select
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from taskward.executor.collect import is_written
from taskward.executor.docker.images.child import Serving, as_ourselves, until_abandoned
from taskward.executor.errors import MalformedPayload
from taskward.executor.features.feature import task_scopes
from taskward.executor.mounts import fetch, site
from taskward.executor.mounts.errands import Errands
from taskward.executor.mounts.errors import MountFailed
from taskward.executor.mounts.porter import porter
from taskward.executor.task import Task

_LOOK_MS: Final = 200
_PAUSE_S: Final = 0.1
_TELL_EACH_S: Final = 5.0


class Site(site.Site):
    """One task's while it gets its image; a context manager, since processes belong to it."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._look: Callable[[], None] | None = None

    @property
    def scopes(self) -> list[str]:
        """What the task may do."""
        return task_scopes(self.task)

    @property
    def porter(self) -> Errands:
        """As for mounts, with the limits of images; it ends at once when it is given up."""
        if self._porter is None:
            images = self.task.settings.images
            limits = fetch.Limits(images.max_download_bytes, float(images.timeout_s))
            self._porter = self.as_task(porter(str(self.identity.home), self._ca(), limits))
        return self._porter

    def as_task(self, serving: Serving) -> Errands:
        """To a process with the task's rights, which ends when this is closed."""
        return Errands(self.task.engine.as_task(until_abandoned(serving)), self._wait)

    def as_ourselves(self, serving: Serving) -> Errands:
        """To a process with our rights, which ends when this is closed."""
        return Errands(as_ourselves(serving), self._wait)

    @contextmanager
    def looking(self, look: Callable[[], None]) -> Iterator[None]:
        """Calls `look` some times in a second while errands are waited for."""
        self._look = look
        try:
            yield
        finally:
            self._look = None

    def pause(self, seconds: float = _PAUSE_S) -> None:
        """Waits.

        Raises:
            TaskEnded: the run must stop.
        """
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self.watch.check()
            time.sleep(min(_PAUSE_S, left_s))

    def api(self, service: str, *path: str) -> str:
        """The URL of a call of Taskcluster with the task's scopes.

        Raises:
            MalformedPayload: this worker has no proxy.
        """
        try:
            return super().api(service, *path)
        except MalformedPayload as error:
            raise MalformedPayload("images of tasks need a proxy, which is not enabled on this worker") from error

    def say(self, text: str) -> None:
        """A line of the task's log."""
        self.task.log.info(text)

    def warn(self, text: str) -> None:
        """A line of the task's log that asks for attention."""
        self.task.log.warn(text)

    @contextmanager
    def downloaded(self, url: str, directory: Path) -> Iterator[tuple[int, str]]:
        """A descriptor and the sha256 of a download through the proxy, which has no name and goes with the context.

        Raises:
            MountFailed: it cannot be had.
            TaskEnded: the run must stop.
        """
        with TemporaryFile(dir=directory, buffering=0) as part:
            with self.looking(_Growth(part.fileno(), self.say).tell):
                told, _ = self.porter.ask("download", part.fileno(), url=url, to_proxy=True)
            complete = os.open(f"/proc/self/fd/{part.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(complete).st_size != told["size"] or is_written(complete):
                raise MountFailed("the download was changed after it was complete")
            yield complete, str(told["sha256"])
        finally:
            os.close(complete)

    def _wait(self, files: Collection[int]) -> set[int]:
        if self._look is None:
            return self.watch.wait(files)
        poll = select.poll()
        for file in files:
            poll.register(file, select.POLLIN)
        while True:
            ready = poll.poll(_LOOK_MS)
            self._look()
            if ready:
                return {file for file, _ in ready}
            self.watch.check()


class _Growth:
    """Tells now and then how large a file has become."""

    def __init__(self, file: int, say: Callable[[str], None]) -> None:
        self._file, self._say, self._told_s = file, say, time.monotonic()

    def tell(self) -> None:
        if time.monotonic() - self._told_s >= _TELL_EACH_S:
            self._told_s = time.monotonic()
            self._say(f"Download Progress: {os.fstat(self._file).st_size / 1e6:.0f} mb")
