"""A task that wants an image, without the rest of its life."""

import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from executor.bench import Bench, JobProcess
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.images.images import Images
from taskward.executor.docker.images.library import Ensured
from taskward.executor.docker.images.site import Site
from taskward.executor.docker.request import Image
from taskward.executor.native import NativeEngine
from taskward.executor.task import Task
from taskward.executor.tasklog import TaskLog
from taskward.executor.watch import Termination, Watch


class Customer:
    """One task's user, log and watch; `abort` is why its run must stop, `abort_when` tells that somebody cancels it."""

    def __init__(self, bench: Bench, scopes: Sequence[str] = ()) -> None:
        self.settings, self.abort = bench.settings, ""
        self.abort_when: Callable[[], bool] = lambda: False
        run = bench.claim({"maxRunTime": 60}, scopes=list(scopes))
        record = bench.records.read(run)
        assert record is not None
        self.log = TaskLog.open(bench.layout.log_directory(run))
        self.engine = NativeEngine(run, bench.layout, bench.settings.executor)
        self.task = Task(record, bench.settings, bench.redis, self.log, self.engine)
        self._before = signal.getsignal(signal.SIGTERM)
        self.task.watch = Watch(Termination(), self._reason, self.log, 0)
        self.daemon = Daemon(bench.settings.docker)
        self.images = Images(self.daemon, bench.settings)
        self.engine.prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        signal.signal(signal.SIGTERM, self._before)
        self.engine.kill()
        self.engine.remove()
        self.daemon.close()
        self.log.close()

    def _reason(self) -> str:
        return "canceled" if self.abort_when() else self.abort

    def get(self, image: Image) -> Ensured:
        """The image, let go at once."""
        with Site(self.task) as site:
            ensured = self.images.ensure(image, site)
        ensured.close()
        return ensured

    def fails(self, image: Image) -> str:
        """Why it cannot have it; what it is told takes no long."""
        begun_s = time.monotonic()
        try:
            self.get(image)
        except Exception as error:
            assert time.monotonic() - begun_s < 20
            return f"{type(error).__name__}: {error}"
        raise AssertionError("it got the image")

    @property
    def told(self) -> str:
        """The log, without times."""
        lines = self.log.path.read_text().splitlines()
        return "\n".join(line.partition("] ")[2] for line in lines)


def at_once(directory: Path, everybody: Sequence[Customer], action: Callable[[Customer], str]) -> list[str]:
    """What it returns for each, called in a process of its own, as executors are."""

    def write(number: int, customer: Customer) -> None:
        (directory / str(number)).write_text(action(customer))

    jobs = [JobProcess(partial(write, number, customer)) for number, customer in enumerate(everybody)]
    assert [job.wait() for job in jobs] == [0] * len(jobs)
    return [(directory / str(number)).read_text() for number in range(len(jobs))]
