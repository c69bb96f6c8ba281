"""What a container may use of this host's processors and disk, beside the limits that the kernel keeps by itself."""

import os
import time
from typing import Final

from taskward.core.outcome import Outcome, failed
from taskward.executor.docker import labels, slots
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.slots import Slot
from taskward.executor.errors import EngineFailed

_PERIOD_S: Final = 2.0
_COST_TO_PAUSE: Final = 50


class OwnProcessor(ContainerFeature):
    """``[docker] restrict_cpu``: one processor for each task, and each for one task."""

    name = "Own Processor"
    _slot: Slot | None = None

    def requested(self) -> bool:
        """When the worker has it on."""
        return self.task.settings.docker.restrict_cpu

    def start(self) -> None:
        """Takes one."""
        numbers = sorted(os.sched_getaffinity(0))
        self._slot = slots.take(self.task.layout.state_dir / "locks/processors", map(str, numbers))
        if self._slot is None:
            raise EngineFailed(f"[docker] restrict_cpu: all {len(numbers)} processors have a task; lower the capacity")
        self.engine.outfit.processors = self._slot.name

    def stop(self) -> None:
        """Gives it back."""
        if self._slot is not None:
            self._slot.close()
            self._slot = None


class DiskLimit(ContainerFeature):
    """``[docker] disk_limit_bytes``: the daemon is asked now and then how much the task's containers have written.

    To count takes the daemon a while, so the pauses follow from what it takes. Most storage drivers have no limit that
    would be kept by the kernel.
    """

    name = "Disk Limit"
    _next_s = 0.0

    def requested(self) -> bool:
        """When the worker has one."""
        return self.task.settings.docker.disk_limit_bytes > 0

    def start(self) -> None:
        """Attaches itself to the wait for the container."""
        if self.task.watch is not None:
            self.task.watch.observe(self._look)

    def _look(self) -> Outcome | None:
        began_s = time.monotonic()
        if began_s < self._next_s:
            return None
        most_bytes, written_bytes = self.task.settings.docker.disk_limit_bytes, self._written_bytes()
        cost_s = time.monotonic() - began_s
        self._next_s = began_s + max(_PERIOD_S, cost_s * _COST_TO_PAUSE)
        if written_bytes <= most_bytes:
            return None
        return failed(f"The container has written {written_bytes} bytes, {most_bytes} is the most that is allowed")

    def _written_bytes(self) -> int:
        """A daemon that does not answer is no reason to end the task."""
        daemon, marks = self.engine.daemon, labels.of_run(self.task.layout.state_dir, self.task.run)
        try:
            with daemon.asking("count what the container has written"):
                wanted = {"label": [f"{name}={value}" for name, value in marks.items()]}
                found = daemon.api.containers(all=True, filters=wanted, size=True)
        except EngineFailed:
            return 0
        return sum(int(each.get("SizeRw") or 0) for each in found)
